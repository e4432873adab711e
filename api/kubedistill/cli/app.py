"""The entry point of the command line: its commands, and the exit codes of errors.

0 success · 1 the job failed, or the cluster does not answer · 2 bad input · 3 the evaluation gate failed

It is also a kubectl plugin: `kubectl distill …` runs the same commands under the name kubectl-distill.
"""

import sys

import typer

from kubedistill.cli.estimate import estimate
from kubedistill.cli.events import events
from kubedistill.cli.get import get
from kubedistill.cli.importing import importing
from kubedistill.cli.init import init
from kubedistill.cli.logs import logs
from kubedistill.cli.preview import preview
from kubedistill.cli.program import program
from kubedistill.cli.report import report
from kubedistill.cli.run import run
from kubedistill.cli.runtime import show_failure
from kubedistill.cli.submit import submit
from kubedistill.cli.validate import validate
from kubedistill.cli.verbs import cancel, rerun, resume, suspend
from kubedistill.cli.version import version
from kubedistill.cli.watch import watch
from kubedistill.contract.events import FailedEvent
from kubedistill.errors import KubedistillError
from kubedistill.signals import reset_inherited_signals

app = typer.Typer(
    name="kubedistill",
    help="Distill large language models into small ones, from one manifest.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
_PANELS = {
    "On this machine": (init, validate, preview, estimate, run, version),
    "In a cluster": (submit, get, watch, logs, events, report, suspend, resume, rerun, cancel),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(importing)


def main() -> None:
    """Run the command line; for a known error, print one message and exit with its code.

    The message goes to standard error, or with --json to standard output as the last event of a run.
    """
    reset_inherited_signals()
    try:
        app(prog_name=program())
    except KubedistillError as error:
        show_failure(FailedEvent.of(error), as_json="--json" in sys.argv[1:])
        sys.exit(error.exit_code)
