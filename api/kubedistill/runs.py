"""Runs: which one a job's spec and annotations ask for. The operator starts by this rule; clients wait by it."""

import re
from collections.abc import Mapping, Set
from itertools import count

from kubedistill.canonical import short_digest
from kubedistill.labels import RERUN_ANNOTATION, requests_of
from kubedistill.v1alpha1 import Status

FIRST_RUN = "1"


def wanted_run(*, run_id: str | None, annotations: Mapping[str, str], status: Status) -> str | None:
    """The id of a run that is asked for and has not begun; None where there is none. `run_id` is spec.runID."""
    rerun = requests_of(annotations).get("rerun")
    if rerun is not None and rerun not in status.handled_requests:
        return rerun_id(annotations[RERUN_ANNOTATION])
    over = {one.id for one in status.run_history}
    if status.run is None:
        return _unused(run_id or FIRST_RUN, over)
    return run_id if run_id and run_id not in {status.run.id, *over} else None


def rerun_id(token: str) -> str:
    """The id of the run that a rerun annotation asks for; a token that no label may hold is hashed."""
    readable = re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", token)
    return f"rerun-{token if readable else short_digest(token)}"


def _unused(name: str, over: Set[str]) -> str:
    """The name, or another where a run of it is over: its successor was taken back before it began."""
    names = (rerun_id(f"{name}-{number}") for number in count(2))
    return name if name not in over else next(one for one in names if one not in over)
