"""`kubedistill validate`: check a manifest, its data and its models."""

from pathlib import Path
from typing import Annotated

import typer

from kubedistill.cli.output import print_json, say, say_line
from kubedistill.cli.program import with_program_name
from kubedistill.cli.runtime import ask_runtime
from kubedistill.contract.events import Finding, ValidatedEvent
from kubedistill.errors import EXIT_BAD_INPUT, InvalidData, InvalidManifest
from kubedistill.manifest.loading import load_manifest
from kubedistill.paths import local_path, locate
from kubedistill.runtime_process import has_checks, runtime_arguments
from kubedistill.v1alpha1 import DistillationJob

Manifest = Annotated[Path, typer.Argument(help="A DistillationJob, as YAML.", show_default=False)]
ConfigMaps = Annotated[
    list[str] | None, typer.Option("--configmap", help="Folder to use for a ConfigMap.", metavar="NAME=DIR")
]
_NO_RUNTIME = "the records, models and tokenizers, because only the client is installed here, not the runtime"


def validate(
    manifest: Manifest,
    *,
    configmap: ConfigMaps = None,
    quick: Annotated[bool, typer.Option(help="Check only the manifest.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a manifest, its records, models and tokenizers, and list everything that would make a run fail."""
    job = load_manifest(manifest)
    if quick:
        found = ValidatedEvent(problems=_check_exports(job), notes=[], unchecked=[])
    elif has_checks():
        found = _ask_runtime(manifest, config_maps=configmap or [], as_json=as_json)
    else:
        found = _check_files(job, folder=manifest.parent)
    if as_json:
        values = found.model_dump(mode="json", exclude={"contract", "event"})
        print_json({"valid": not found.problems, "name": job.metadata.name, **values})
    else:
        _show(found, manifest=manifest, name=job.metadata.name)
    if found.problems:
        raise typer.Exit(EXIT_BAD_INPUT)


def _ask_runtime(manifest: Path, *, config_maps: list[str], as_json: bool) -> ValidatedEvent:
    """Run the checks of Prepare in the runtime, which writes and downloads nothing."""
    arguments = runtime_arguments(manifest, store=str(manifest.parent / ".kubedistill"), config_maps=config_maps)
    return ask_runtime([*arguments, "--validate"], answer=ValidatedEvent, as_json=as_json)


def _check_exports(job: DistillationJob) -> list[Finding]:
    """Check that students are exported to paths."""
    problems = []
    for index, export in enumerate(job.spec.export):
        try:
            if export.uri is not None:
                local_path(export.uri, root=Path(), at=f"spec.export[{index}].uri")
        except InvalidManifest as error:
            problems.append(Finding.of(error))
    return problems


def _check_files(job: DistillationJob, *, folder: Path) -> ValidatedEvent:
    """Check what needs no runtime: where students are exported, and that the data files exist."""
    problems = _check_exports(job)
    for split in ("train", "validation", "test"):
        source = getattr(job.spec.data, split)
        if source is None or source.uri is None:
            continue
        path = locate(source.uri, root=folder, at=f"spec.data.{split}.uri").path
        if path is not None and (problem := _problem_of(path)):
            fix = "Paths without a scheme are relative to the manifest's folder"
            problems.append(Finding.of(InvalidData(problem, at=f"spec.data.{split}: {path}", fix=fix)))
    return ValidatedEvent(problems=problems, notes=[], unchecked=[_NO_RUNTIME])


def _problem_of(path: Path) -> str:
    """Return what is wrong with a data file, or an empty string."""
    try:
        if not path.is_file():
            return "there is no such file"
        return "" if path.stat().st_size else "the file is empty"
    except OSError as error:  # such as a folder without permission, or a name that is too long
        return f"the file can't be read ({error.strerror})"


def _show(found: ValidatedEvent, *, manifest: Path, name: str) -> None:
    """Print problems to standard error, and everything else to standard output."""
    for problem in found.problems:
        say(f"{problem.reason}: {with_program_name(problem.message)}", err=True)
    for note in found.notes:
        say_line(f"note: {note}")
    for unchecked in found.unchecked:
        say_line(f"not checked: {unchecked}")
    if not found.problems:
        say_line(f"{manifest}: {name} is valid" + (", as far as it could be checked" if found.unchecked else ""))
