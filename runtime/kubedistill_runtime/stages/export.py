"""Export: hand the judged student over in the forms that the manifest names."""

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import ExportedFolder, ExportFigures
from kubedistill.contract.summaries import ExportSummary
from kubedistill_runtime.choices import root_path
from kubedistill_runtime.export import FORMATS
from kubedistill_runtime.export.folders import export_paths, fill
from kubedistill_runtime.keys import check_keys, resolve
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import folder_of, publish, trained_folder
from kubedistill_runtime.storage.store import Store


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Make the export artifact: every format of the manifest, in the store or copied to its folder."""
    del engines
    resolved = resolve(job, store=store)
    check_keys(job, resolved)
    student = store.path(f"{trained_folder(store, resolved.keys['student'])}/model")
    key, exports, name = resolved.keys["export"], job.spec.export, job.job.full_name
    folders = export_paths(exports, data_root=root_path(job.data_root), store=store, key=key)
    done: list[ExportedFolder] = []
    for export, folder in zip(exports, folders, strict=True):
        progress.working(done=len(done), total=len(exports), unit="exports", message=export.format)
        write = FORMATS[export.format]
        fill(folder, key=key, job=name, write=lambda staging, write=write: write(student, staging))  # type: ignore[misc]
        path = str(folder if export.uri else folder.relative_to(store.root))
        done.append(ExportedFolder(format=export.format, path=path))
    publish(store, "export", key, ExportFigures(exports=done), files=[folder_of("export", key)])
    return Outcome(summary=ExportSummary(exports=done), message=", ".join(one.format for one in done))
