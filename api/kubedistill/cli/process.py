"""The message of a command that fails."""

from kubedistill.cli.output import print_json, say
from kubedistill.cli.program import with_program_name
from kubedistill.contract.events import FailedEvent


def show_failure(failed: FailedEvent, *, as_json: bool) -> None:
    """Print why a command failed: a line of JSON to standard output, or a message to standard error."""
    if as_json:
        print_json(failed.to_values())
    else:
        say(f"{failed.reason}: {with_program_name(failed.message)}", err=True)
