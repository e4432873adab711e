"""The run that the spec and the annotations of a job request: the operator starts it, and clients wait for it."""

import re
from collections.abc import Mapping, Set
from itertools import count

from kubedistill.canonical import short_digest
from kubedistill.labels import RERUN_ANNOTATION, requests_of
from kubedistill.v1alpha1 import Status

FIRST_RUN = "1"


def requested_run(*, run_id: str | None, annotations: Mapping[str, str], status: Status) -> str | None:
    """Return the id of a requested run that has not started; None if there is none. `run_id` is spec.runID."""
    rerun = requests_of(annotations).get("rerun")
    if rerun is not None and rerun not in status.handled_requests:
        return rerun_id(annotations[RERUN_ANNOTATION])
    over = {one.id for one in status.run_history}
    if status.run is None:
        return _unused(run_id or FIRST_RUN, over)
    return run_id if run_id and run_id not in {status.run.id, *over} else None


def rerun_id(token: str) -> str:
    """Return the id of the run that a rerun annotation requests; a token that is not a valid label is hashed."""
    readable = re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", token)
    return f"rerun-{token if readable else short_digest(token)}"


def _unused(name: str, over: Set[str]) -> str:
    """Return the name, or a similar one if a run of this name is over, which can happen after a withdrawn request."""
    names = (rerun_id(f"{name}-{number}") for number in count(2))
    return name if name not in over else next(one for one in names if one not in over)
