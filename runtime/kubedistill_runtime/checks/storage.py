"""Whether this process can write to the folders of a stage, tested before any work is done."""

from kubedistill.chain import STAGES
from kubedistill.contract import StageJob
from kubedistill.contract.store_names import artifact_folder
from kubedistill_runtime.storage.store import Store


def check_store(job: StageJob, *, store: Store) -> None:
    """Write and delete a file in each folder that the stage will write to.

    Raises StorageNotWritable if access is denied, and StorageUnavailable if the volume is full or gone.
    """
    artifacts = [artifact_folder(name, "") for stage in STAGES.values() for name in stage.makes]
    made = [artifact_folder(name, job.artifacts.get(name, "")) for name in STAGES[job.stage].makes]
    store.probe("", "digests", "rows", "speeds", job.attempt_folder, *artifacts, *made)
