"""`kubedistill run`: run a job on this machine."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from kubedistill.cli.output import print_json
from kubedistill.cli.runtime import exit_code_of
from kubedistill.cli.validate import ConfigMaps, Manifest
from kubedistill.contract import Prices
from kubedistill.contract.events import Event
from kubedistill.manifest.loading import load_manifest
from kubedistill.paths import locate
from kubedistill.runtime_process import check_runtime, run_runtime, runtime_arguments
from kubedistill.v1alpha1 import DistillationJob

Store = Annotated[str | None, typer.Option(help="Folder for artifacts. [default: .kubedistill next to the manifest]")]
Rehash = Annotated[
    bool, typer.Option("--rehash", help="Read all data and model files again, even if they seem unchanged.")
]
Update = Annotated[
    bool, typer.Option("--update", help="Use the latest commits of models and datasets of the Hugging Face hub.")
]
Price = Annotated[
    float | None, typer.Option(min=0, help="Price of its hardware, in US dollars per hour.", show_default=False)
]


def run(
    manifest: Manifest,
    *,
    store: Store = None,
    configmap: ConfigMaps = None,
    teacher_price: Price = None,
    student_price: Price = None,
    rehash: Rehash = False,
    update: Update = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the events of the runtime, one line of JSON each.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the output of libraries.")] = False,
) -> None:
    """Run a job on this machine, from prompts to an evaluated student. Repeat the command to resume it."""
    job = load_manifest(manifest)
    check_runtime()
    prices = Prices(teacher=teacher_price, student=student_price)
    arguments = runtime_arguments(manifest, store=store or default_store(job, manifest), config_maps=configmap or [])
    arguments += ["--prices", prices.model_dump_json(exclude_none=True)]
    arguments += [name for name, given in (("--rehash", rehash), ("--update", update)) if given]
    with contextlib.closing(run_runtime(arguments, verbose=verbose)) as events:
        if as_json:
            code = _print_events(events)
        else:
            from kubedistill.cli.screen import show  # imports rich, which JSON does not need

            code = show(events, job=job)
    raise typer.Exit(code)


def _print_events(events: Iterable[Event]) -> int:
    """Print events as they arrive, and return the exit code."""
    event = None
    for event in events:
        print_json(event.to_values())
    return exit_code_of(event)


def default_store(job: DistillationJob, manifest: Path) -> str:
    """Return the store of the manifest if it is a folder, otherwise .kubedistill next to the manifest."""
    own = locate(job.spec.storage.uri or "", root=Path(), at="spec.storage.uri")
    return str(own.path if own.scheme == "file" else manifest.absolute().parent / ".kubedistill")
