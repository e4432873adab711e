"""Export: write the evaluated student in the formats of the manifest."""

from kubedistill.contract.artifacts import ExportedFolder, ExportFigures
from kubedistill.contract.store_names import artifact_folder
from kubedistill.contract.summaries import ExportSummary
from kubedistill_runtime.data_files import root_path
from kubedistill_runtime.export import FORMATS
from kubedistill_runtime.export.folders import export_paths, fill
from kubedistill_runtime.stages import Outcome, StageContext
from kubedistill_runtime.storage.artifacts import publish, trained_folder


def run(context: StageContext) -> Outcome:
    """Make the export artifact: each format of the manifest, in the store or copied to its folder."""
    job, store, key = context.job, context.store, context.keys["export"]
    student = store.path(f"{trained_folder(store, context.keys['student'])}/model")
    exports, name = job.spec.export, job.job.full_name
    folders = export_paths(exports, data_root=root_path(job.data_root), store=store, key=key)
    done: list[ExportedFolder] = []
    for export, folder in zip(exports, folders, strict=True):
        context.progress.working(done=len(done), total=len(exports), unit="exports", message=export.format)
        write = FORMATS[export.format]
        fill(folder, key=key, job=name, write=lambda staging, write=write: write(student, staging))  # type: ignore[misc]
        path = str(folder if export.uri else folder.relative_to(store.root))
        done.append(ExportedFolder(format=export.format, path=path))
    publish(store, "export", key, ExportFigures(exports=done), files=[artifact_folder("export", key)])
    return Outcome(summary=ExportSummary(exports=done), message=", ".join(one.format for one in done))
