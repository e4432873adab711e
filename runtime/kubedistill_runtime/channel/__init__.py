"""Channels: how a driver reports its progress and its result to whoever started it.

On one machine, a FileChannel writes files into the folder of the attempt. In a cluster, a ConfigMapChannel writes the
ConfigMap that the operator created for the attempt (`claiming.py`, `config_map_channel.py`). A SignaledChannel adds
SIGTERM to either of them.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from kubedistill.contract import StageJob, StageProgress, StageResult
from kubedistill.errors import InvalidInput
from kubedistill.manifest.problems import find_problem
from kubedistill.stored import read_stored_json
from kubedistill_runtime.storage.store import Store


class Channel(Protocol):
    """The channel of one attempt.

    In a cluster, every method raises ClaimLost if this driver is not the one that is waited for anymore.
    """

    def publish_progress(self, progress: StageProgress) -> None:
        """Publish the progress of the stage; a later message replaces an earlier one."""
        ...

    def publish_result(self, result: StageResult) -> None:
        """Publish the result of the attempt, once; raises ChannelUnavailable if that is not possible."""
        ...

    def asked_to_stop(self) -> bool:
        """Return whether the driver should save its state and exit."""
        ...


@dataclass(frozen=True, slots=True)
class FileChannel:
    """A folder with job.json as input, progress.json and result.json as output, and a file `stop` to request a stop.

    Writing raises what the store raises.
    """

    folder: Path

    def publish_progress(self, progress: StageProgress) -> None:
        """Replace progress.json."""
        self._write("progress.json", progress.to_json())

    def publish_result(self, result: StageResult) -> None:
        """Write result.json."""
        self._write("result.json", result.to_json())

    def publish_job(self, job: StageJob) -> None:
        """Write job.json, for the record and to run this stage again by itself."""
        self._write("job.json", job.to_json())

    def asked_to_stop(self) -> bool:
        """Return whether the folder contains a file named stop."""
        return (self.folder / "stop").exists()

    def _write(self, name: str, text: str) -> None:
        Store(self.folder).put(name, text.encode())


def read_job(path: Path, *, sha256: str | None = None) -> StageJob:
    """Read a StageJob from a file; raises InvalidInput if it is not one, or has another digest."""
    try:
        text = path.read_bytes()
        if sha256 is not None and (found := hashlib.sha256(text).hexdigest()) != sha256:
            fix = "Find out who else writes the ConfigMap of the job"
            raise InvalidInput(f"its sha256 is {found}, but the operator wrote {sha256}", at=str(path), fix=fix)
        return read_stored_json(StageJob, text)
    except InvalidInput:  # which is a ValueError too
        raise
    except (OSError, ValueError) as error:
        why = find_problem(error, model=StageJob) if isinstance(error, ValidationError) else error
        problem = f"not a stage job ({str(why).splitlines()[0]})"
        raise InvalidInput(problem, at=str(path), fix="Use a job.json from the folder of a run") from error
