"""A local job: its resource, its status, and the process that runs it."""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kubedistill.client.job import manifest_of
from kubedistill.client.request import Values
from kubedistill.contract import Prices
from kubedistill.contract.store_names import job_folder
from kubedistill.contract.stored_status import with_both_names
from kubedistill.files import replace_file
from kubedistill.runtime_process import Process
from kubedistill.stages import TERMINAL
from kubedistill.v1alpha1 import DistillationJob, Status

StopReason = Literal["Suspended", "Cancelled", "Deleted"]


@dataclass(slots=True)
class LocalJob:
    """A job, and the thread and the process that run it."""

    manifest: Values
    """As it was submitted, with later changes of spec.suspend and of annotations."""
    uid: str
    generation: int
    version: int = 0
    """The resourceVersion: it increases with each change of the manifest or the status."""
    status: Status = field(default_factory=Status)
    runner: threading.Thread | None = None
    process: Process | None = None
    stop_reason: StopReason | None = None
    """Why the process is being stopped; None if it is not."""

    @property
    def is_running(self) -> bool:
        """Whether its run has started and not ended."""
        return self.status.phase not in (None, "Suspended", *TERMINAL)

    def read_manifest(self) -> DistillationJob:
        """Return the manifest as a model; raises pydantic's ValidationError."""
        return DistillationJob.model_validate_json(
            json.dumps(self.manifest), extra="ignore", by_alias=True, by_name=False
        )

    def to_values(self) -> Values:
        """Return the resource as an API server has it."""
        metadata = {
            **self.manifest["metadata"],
            "uid": self.uid,
            "generation": self.generation,
            "resourceVersion": str(self.version),
        }
        status = with_both_names(self.status.model_dump(mode="json", by_alias=True, exclude_none=True))
        return {**self.manifest, "metadata": metadata, "status": status}


@dataclass(frozen=True, slots=True)
class LocalFolders:
    """What every run on this machine uses: folders and prices."""

    data_root: Path
    store: Path
    config_maps: Mapping[str, Path]
    prices: Prices

    def prepare_run(self, job: DistillationJob) -> list[str]:
        """Write the manifest to the folder of a job, and return the arguments of the runtime."""
        folder = self.store / job_folder(job.metadata.name, namespace=job.metadata.namespace)
        folder.mkdir(parents=True, exist_ok=True)
        manifest = folder / "job.json"
        replace_file(manifest, json.dumps(manifest_of(job)))
        pairs = [text for name, path in self.config_maps.items() for text in ("--configmap", f"{name}={path}")]
        return [
            "--manifest",
            str(manifest),
            "--data-root",
            str(self.data_root),
            "--store",
            str(self.store),
            *pairs,
            "--prices",
            self.prices.model_dump_json(exclude_none=True),
        ]
