"""Models without internet access: the commands of docs/operations.md, against a hub on loopback."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.job_folder import JobFolder
from support.local_hub import LocalHub, serve_hub

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
NAME = "organization/name"
_FIND = """
import sys
from pathlib import Path
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.hub import find_commit
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.weights import materialize
source, store = sys.argv[1:]
commit = find_commit(source[5:], revision=None, at="x", fetch=True) if source.startswith("hf://") else None
where = {"data_root": Path("/"), "store": Store(Path(store)), "at": "x"}
model = find_model(source, commit=commit, trust_remote_code=False, **where)
print(model.parameters, (materialize(model) / "model.safetensors").stat().st_size)
"""


@pytest.fixture
def hub(job_folder: JobFolder) -> Iterator[LocalHub]:
    with serve_hub() as hub:
        hub.repository(NAME).push_folder(job_folder.root / "student", **{"consolidated.bin": b"1"})
        yield hub


def commands() -> list[str]:
    """Return the commands of the section, in their order."""
    section = PAGE.read_text(encoding="utf-8").partition("### Use models without internet access")[2]
    return [line.strip() for line in section.partition("\n## ")[0].splitlines() if " hf download" in f" {line}"]


def run(*command: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    ended = subprocess.run(
        command, env={**environment, **variables}, check=False, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def run_documented(command: str, *, mounted: Path, hub: LocalHub) -> None:
    words = shlex.split(command.replace("/mnt/", f"{mounted}/"))
    variables = dict(word.split("=", 1) for word in words if word.startswith("HF_"))
    program, *arguments = words[len(variables) :]
    assert program == "hf"
    run(str(Path(sys.executable).with_name("hf")), *arguments, **variables, HF_ENDPOINT=hub.address)


def test_a_cache_that_was_filled_serves_a_job_offline(hub: LocalHub, job_folder: JobFolder, tmp_path: Path) -> None:
    command = next(one for one in commands() if one.startswith("HF_HOME"))
    run_documented(command, mounted=tmp_path, hub=hub)
    hub.reset()
    home = str(tmp_path / "models" / "huggingface")
    size = (job_folder.root / "student" / "model.safetensors").stat().st_size
    for store in ("store", "store", "other"):
        offline = {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": hub.address}
        found = run(sys.executable, "-c", _FIND, f"hf://{NAME}", str(tmp_path / store), **offline)
        assert found.split() == ["8", str(size)]
    assert hub.requests == []


def test_a_folder_that_was_downloaded_is_a_model(hub: LocalHub, job_folder: JobFolder, tmp_path: Path) -> None:
    command = next(one for one in commands() if "--local-dir" in one)
    run_documented(command, mounted=tmp_path, hub=hub)
    size = (job_folder.root / "student" / "model.safetensors").stat().st_size
    found = run(
        sys.executable, "-c", _FIND, str(tmp_path / "storage" / "models" / "name"), str(tmp_path / "store"),
        HF_ENDPOINT="http://127.0.0.1:9",
    )  # fmt: skip
    assert found.split() == ["8", str(size)]
