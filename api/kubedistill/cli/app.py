"""The entry of the command line: commands, and how errors become exit codes.

0 success · 1 the job failed · 2 bad input · 3 the gate said no
"""

import sys

import typer

from kubedistill.cli.importing import importing
from kubedistill.cli.init import init
from kubedistill.cli.preview import preview
from kubedistill.cli.process import failed_event, show_failure
from kubedistill.cli.run import run
from kubedistill.cli.validate import validate
from kubedistill.cli.version import version
from kubedistill.errors import KubedistillError

app = typer.Typer(
    name="kubedistill",
    help="Distil large language models into small ones, from one manifest.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
for command in (init, validate, preview, run, version):
    app.command()(command)
app.add_typer(importing)


def main() -> None:
    """Run the command line; a known error becomes one message and its exit code.

    The message goes to standard error, or with --json to standard output as the event that ends a run.
    """
    try:
        app()
    except KubedistillError as error:
        show_failure(failed_event(error), as_json="--json" in sys.argv[1:])
        sys.exit(error.exit_code)
