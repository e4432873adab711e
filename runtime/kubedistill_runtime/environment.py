"""Environment variables of this process and its children, which libraries read when they are imported."""

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

VARIABLES = {
    "OMP_NUM_THREADS": "1",  # a second OpenMP thread waits for the first whenever a core is busy
    "OMP_WAIT_POLICY": "PASSIVE",  # if there are more, they sleep while they wait
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine lives in our actor: starts in 3 s, and dies with it
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
}


def set_environment(environment: MutableMapping[str, str]) -> None:
    """Set variables that an environment lacks, including a user name and a writable home.

    The user of a pod may have no entry in /etc/passwd, where libraries look for values that the environment lacks.
    """
    for name, value in (VARIABLES | {"USER": str(os.geteuid())}).items():
        environment.setdefault(name, value)
    if not os.access(environment.get("HOME", ""), os.W_OK):
        environment["HOME"] = str(_own_home())


def _own_home() -> Path:
    """Return a folder that no other user of this machine can have prepared."""
    home = Path(tempfile.gettempdir(), f"kubedistill-{os.geteuid()}")
    home.mkdir(mode=0o700, exist_ok=True)
    ours = home.lstat().st_uid == os.geteuid()
    return home if ours else Path(tempfile.mkdtemp(prefix="kubedistill-"))
