"""Channels: how a driver tells the one who started it how far it is and how it ended."""

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
    """One attempt's way out."""

    def publish_progress(self, progress: StageProgress) -> None:
        """Say how far the stage is; a later message replaces an earlier one."""
        ...

    def publish_result(self, result: StageResult) -> None:
        """Say, once, how the attempt ended."""
        ...

    def asked_to_stop(self) -> bool:
        """Whether the driver should save its state and leave."""
        ...


@dataclass(frozen=True, slots=True)
class FileChannel:
    """A folder: job.json comes in, progress.json and result.json go out, a file named stop asks to leave."""

    folder: Path

    def publish_progress(self, progress: StageProgress) -> None:
        """Replace progress.json."""
        self._write("progress.json", progress.to_json())

    def publish_result(self, result: StageResult) -> None:
        """Write result.json."""
        self._write("result.json", result.to_json())

    def publish_job(self, job: StageJob) -> None:
        """Write job.json, for the record and for running the stage again alone."""
        self._write("job.json", job.to_json())

    def asked_to_stop(self) -> bool:
        """Whether somebody put a file named stop into the folder."""
        return (self.folder / "stop").exists()

    def _write(self, name: str, text: str) -> None:
        Store(self.folder).put(name, text.encode())


def run_folder(job: StageJob) -> str:
    """The name under which a run's attempts and its report lie in the store."""
    return f"runs/{job.job.namespace}.{job.job.name}/{job.run.id}"


def attempt_folder(job: StageJob) -> str:
    """The name under which an attempt's messages and logs lie in the store."""
    return f"{run_folder(job)}/{job.stage.lower()}-{job.attempt}"


def read_job(path: Path, *, sha256: str | None = None) -> StageJob:
    """Read a StageJob from its file; raises InvalidInput where it is not one, or does not have that digest."""
    try:
        text = path.read_bytes()
        if sha256 is not None and (found := hashlib.sha256(text).hexdigest()) != sha256:
            fix = "Find out who else writes the ConfigMap that it comes from"
            raise InvalidInput(f"its sha256 is {found}, and the operator wrote {sha256}", at=str(path), fix=fix)
        return read_stored_json(StageJob, text)
    except InvalidInput:  # which is a ValueError too
        raise
    except (OSError, ValueError) as error:
        why = find_problem(error, model=StageJob) if isinstance(error, ValidationError) else error
        problem = f"not a stage job ({str(why).splitlines()[0]})"
        raise InvalidInput(problem, at=str(path), fix="Take a job.json from a run's folder") from error
