"""`kubedistill report`: show the result of a job."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kubedistill.cli.cluster import Context, JobName, Kubeconfig, Namespace, StoreHere, session
from kubedistill.cli.output import DataOutput, print_values, say, say_line
from kubedistill.client import operations
from kubedistill.client.evaluation import Comparison, comparison_of
from kubedistill.client.job import Job
from kubedistill.client.request import Operation
from kubedistill.client.storage import STORE_HERE, find_report
from kubedistill.contract.summaries import GateVerdict
from kubedistill.errors import InvalidInput
from kubedistill.report.words import answers_text, gate_details, gate_text


def report(
    job: JobName,
    *,
    open_page: Annotated[bool, typer.Option("--open", help="Open report.html in the browser.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    store: StoreHere = None,
    output: DataOutput = None,
) -> None:
    """Show the result: teacher, student before and after, from the report or otherwise from the job's status."""
    with session(kubeconfig=kubeconfig, context=context, namespace=namespace) as connection:
        found, comparison = connection.run(_find(job, namespace=connection.namespace, store=store))
    if output is not None:
        chosen = comparison.report or comparison.result
        print_values(json.loads(chosen.model_dump_json(by_alias=True)), output)
    else:
        show_comparison(found, comparison)
    if open_page:
        if comparison.report is None:
            problem = f"the report, {comparison.page}, can't be read from this machine"
            raise InvalidInput(problem, at="--open", fix=STORE_HERE)
        typer.launch(Path(comparison.page).as_uri())


def _find(name: str, *, namespace: str, store: Path | None) -> Operation[tuple[Job, Comparison]]:
    job = yield from operations.get(name, namespace=namespace)
    return job, comparison_of(job, (yield from find_report(job, store=store)))


def show_comparison(job: Job, comparison: Comparison) -> None:
    """Print the table of a job, its summary, the verdict of the gate and the location of the report."""
    say(f"{job.namespace}/{job.name}: {job.phase}\n")
    say(f"{comparison}\n")
    gate = _gate_of(job, comparison)
    if gate is not None:
        details = gate_details(gate)
        say_line(f"{gate_text(gate).capitalize()}{': ' if details else ''}{details}.")
    if comparison.report is not None and comparison.report.data.rejected:
        text = answers_text(comparison.report.data)
        say_line(f"{text[:1].upper()}{text[1:]}.")
    say_line(f"Report: {comparison.page}")
    if comparison.report is None:
        say_line(
            "The report is in the job's store. To see all of it, mount the store and name its folder with --store."
        )


def _gate_of(job: Job, comparison: Comparison) -> GateVerdict | None:
    """Return the verdict of the report, or the verdict in the status; None if there is none yet."""
    passed = comparison.result.gate_passed
    if comparison.report is not None:
        return comparison.report.gate
    if passed is None:
        return None
    return GateVerdict(
        passed=passed, reasons=[] if passed else [job.status.message], limits=job.spec.evaluation.gate.limits
    )
