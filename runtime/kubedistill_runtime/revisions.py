"""Revisions: a run keeps to the commits that it found first, even if it continues after a branch has moved."""

import json

from kubedistill.canonical import canonical_json, digest
from kubedistill.contract import StageJob
from kubedistill.paths import HUB_SCHEME, model_name
from kubedistill_runtime.hub import find_commit
from kubedistill_runtime.storage.store import Store, locate_store

_REVISIONS = "revisions"


def find_model_commit(source: str, *, revision: str | None, job: StageJob, at: str, fetch: bool) -> str | None:
    """Return the commit of a model of the hub in a job's run, or None for any other source.

    The first call of a run asks the hub and records the commit in the store; without `fetch`, nothing is recorded. The
    operator also records it, and names it to each later stage. Raises the errors of find_commit.
    """
    if not source.startswith(HUB_SCHEME):
        return None
    if (named := job.models.get(model_name(source, revision))) is not None:
        return named
    repository = source.removeprefix(HUB_SCHEME)
    name = record_name(job, "model", repository, revision)
    recorded = read_commit(locate_store(job.store), name)
    if recorded is not None:
        return recorded
    commit = find_commit(repository, revision=revision, at=at, fetch=fetch)
    return record_commit(locate_store(job.store), name, repository=repository, commit=commit) if fetch else commit


def record_name(job: StageJob, *what: str | None) -> str:
    """Return the name of the record of what a run uses."""
    return f"{_REVISIONS}/{digest([job.job.full_name, job.job.uid, job.run.id, *what])}.json"


def read_commit(store: Store, name: str) -> str | None:
    """Return a recorded commit, or None if there is none."""
    return str(json.loads(store.read(name))["commit"]) if store.exists(name) else None


def record_commit(store: Store, name: str, *, repository: str, commit: str) -> str:
    """Record a commit, unless another process was faster; returns the recorded one."""
    store.put_if_absent(name, canonical_json({"repository": repository, "commit": commit}))
    recorded = read_commit(store, name)
    assert recorded is not None, "it was just recorded"
    return recorded


def forget_revisions(store: Store) -> None:
    """Remove the recorded commits of all runs, so that branches and tags are resolved again."""
    for name in store.names(_REVISIONS):
        store.delete(name)
