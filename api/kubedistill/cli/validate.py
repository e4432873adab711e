"""kubedistill validate"""

import json
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from kubedistill.errors import InvalidData
from kubedistill.manifest import load_manifest
from kubedistill.v1alpha1 import DistillationJob

Manifest = Annotated[Path, typer.Argument(help="A DistillationJob, as YAML.", show_default=False)]


def validate(
    manifest: Manifest,
    *,
    schema_only: Annotated[bool, typer.Option(help="Do not look at the data files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a manifest, and that its local data files are there."""
    job = load_manifest(manifest)
    if not schema_only:
        _check_files(job, folder=manifest.parent)
    if as_json:
        typer.echo(json.dumps({"valid": True, "name": job.metadata.name}))
    else:
        typer.echo(f"{manifest}: {job.metadata.name} is valid")


def _check_files(job: DistillationJob, *, folder: Path) -> None:
    for split in ("train", "validation", "test"):
        source = getattr(job.spec.data, split)
        if source is None or source.uri is None:
            continue
        parts = urlsplit(source.uri)
        if parts.scheme in ("", "file"):
            path = folder / (unquote(parts.path) if parts.scheme else source.uri)
            if problem := _problem_of(path):
                fix = "Paths without a scheme are relative to the manifest's folder"
                raise InvalidData(problem, at=f"spec.data.{split}.uri: {path}", fix=fix)


def _problem_of(path: Path) -> str:
    """What is wrong with a data file; empty if nothing is."""
    try:
        if not path.is_file():
            return "there is no such file"
        return "" if path.stat().st_size else "the file is empty"
    except OSError as error:  # a folder that may not be entered, a name too long for the file system
        return f"it can't be read ({error.strerror})"
