"""Export: hand the judged student over in the forms that the manifest names."""

from kubedistill.contract import StageJob
from kubedistill_runtime.export import FORMATS
from kubedistill_runtime.export.targets import fill, target_path
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.resolution import check_keys, resolve, root_path
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import folder_of, publish
from kubedistill_runtime.storage.store import Store


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Make the export artifact: every format of the manifest, in the store or copied to its folder."""
    del engines
    resolved = resolve(job, store=store)
    check_keys(job, resolved)
    student = store.path(f"{folder_of('student', resolved.keys['student'])}/model")
    key, data_root = resolved.keys["export"], root_path(job.data_root)
    places = []
    for index, export in enumerate(job.spec.export):
        progress.working(done=index, total=len(job.spec.export), unit="exports", message=export.format)
        folder = f"{folder_of('export', key)}/{index}-{export.format.lower()}"
        outside = target_path(export, data_root=data_root, at=f"spec.export[{index}].uri")
        write = FORMATS[export.format]
        fill(outside or store.path(folder), key=key, write=lambda staging, write=write: write(student, staging))  # type: ignore[misc]
        places.append({"format": export.format, "path": str(outside or folder)})
    publish(store, "export", key, {"exports": places})
    return Outcome(summary={"exports": places})
