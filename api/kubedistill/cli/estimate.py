"""`kubedistill estimate`: what a job will take, before anything is spent."""

from pathlib import Path
from typing import Annotated

import typer

from kubedistill.cli.output import print_json, say_line
from kubedistill.cli.run import Store, default_store
from kubedistill.cli.runtime import ask_runtime
from kubedistill.cli.validate import ConfigMaps, Manifest
from kubedistill.contract.estimates import Estimate, Machines, StageEstimate
from kubedistill.contract.events import EstimateEvent
from kubedistill.manifest.loading import load_manifest
from kubedistill.manifest.settings_file import load_settings
from kubedistill.placement.hardware import find_hardware
from kubedistill.placement.prices import find_prices, pools_of_models
from kubedistill.report.estimates import duration_text
from kubedistill.report.table import short_bytes, short_number
from kubedistill.runtime_process import check_runtime, runtime_arguments
from kubedistill.v1alpha1 import DistillationJob

SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", help="The operator's settings file, whose pools the job would use.", show_default=False),
]
_HEADINGS = ("", "tokens", "time", "GPU hours", "dollars")
_UNKNOWN = "-"


def estimate(
    manifest: Manifest,
    *,
    settings: SettingsFile = None,
    store: Store = None,
    configmap: ConfigMaps = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate tokens, time, GPU hours and dollars of a job, on this machine or in the pools of a cluster."""
    job = load_manifest(manifest)
    check_runtime()
    arguments = runtime_arguments(manifest, store=store or default_store(job, manifest), config_maps=configmap or [])
    if settings is not None:
        arguments += ["--machines", find_machines(job, settings).model_dump_json(by_alias=True)]
    found = ask_runtime([*arguments, "--estimate"], answer=EstimateEvent, as_json=as_json).estimate
    if as_json:
        print_json(found.to_values())
    else:
        for line in render_estimate(found):
            say_line(line)


def find_machines(job: DistillationJob, settings: Path) -> Machines:
    """Return what a job would run on in a cluster; raises InvalidSettings, UnknownPool and what lay_out raises."""
    known, spec = load_settings(settings), job.spec
    hardware = find_hardware(spec, namespace=job.metadata.namespace, pools=known.pools, resources=known.cpu_resources)
    return Machines(hardware=hardware, pools=pools_of_models(spec), prices=find_prices(spec, known.pools))


def render_estimate(found: Estimate) -> list[str]:
    """Return the lines of an estimate: a table of its stages with their sum, sizes, and all assumptions."""
    rows = [_HEADINGS, *(_row(one.stage, one) for one in found.stages), _row("all", found.total)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return [
        *(line.rstrip() for line in table),
        f"disk: {short_bytes(found.disk_bytes)} in the store; downloads: {short_bytes(found.download_bytes)}",
        *(f"assumed: {one}" for one in found.assumptions),
    ]


def _row(name: str, one: StageEstimate) -> tuple[str, ...]:
    if one.reused:
        return (name, "reused", "", "", "")
    return (
        name,
        short_number(one.tokens),
        _UNKNOWN if one.seconds is None else duration_text(one.seconds),
        _UNKNOWN if one.gpu_hours is None else f"{one.gpu_hours:,.1f}",
        _UNKNOWN if one.dollars is None else f"{one.dollars:,.2f}",
    )
