"""How a command says why it ends."""

import json
import sys

from kubedistill.cli.program import named
from kubedistill.errors import KubedistillError
from kubedistill.process import Event


def failed_event(error: KubedistillError) -> Event:
    """An error as the event with which the runtime would end."""
    return {"event": "failed", "reason": error.reason, "message": str(error), "exitCode": error.exit_code}


def show_failure(failed: Event, *, as_json: bool) -> None:
    """Say why a command ends: a line of JSON to standard output, or a message to standard error."""
    if as_json:
        sys.stdout.write(json.dumps(failed) + "\n")
    else:
        sys.stderr.write(f"{failed['reason']}: {named(failed['message'])}\n")
