"""How a command says why it ends."""

from kubedistill.cli.output import print_json, say
from kubedistill.cli.program import named
from kubedistill.errors import KubedistillError
from kubedistill.runtime_process import Event


def failed_event(error: KubedistillError) -> Event:
    """An error as the event with which the runtime would end."""
    return {"event": "failed", "reason": error.reason, "message": str(error), "exitCode": error.exit_code}


def show_failure(failed: Event, *, as_json: bool) -> None:
    """Say why a command ends: a line of JSON to standard output, or a message to standard error."""
    if as_json:
        print_json(failed)
    else:
        say(f"{failed['reason']}: {named(failed['message'])}", err=True)
