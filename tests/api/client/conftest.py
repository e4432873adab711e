"""Jobs as a server would give them, and a server that answers from a list."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from kubedistill.client.job import Job, read_job
from kubedistill.client.request import Request
from kubedistill.errors import KubedistillError

Values = dict[str, Any]
MakeJob = Callable[..., Values]


@pytest.fixture
def make_job(job_values: Values) -> MakeJob:
    """Return a function of (phase, version=…, …) that gives a job with a status."""

    def make(phase: str = "", *, version: int = 1, annotations: Values | None = None, **status: Any) -> Values:
        values = copy.deepcopy(job_values)
        values["metadata"] |= {
            "namespace": "team-a",
            "uid": "u-1",
            "resourceVersion": str(version),
            "generation": 1,
            "annotations": annotations or {},
        }
        run = {"id": "1", "digest": "d", "startedAt": "2026-11-25T00:00:00Z"}
        values["status"] = {"phase": phase, "run": run, **status} if phase else {}
        return values

    return make


@pytest.fixture
def a_job(make_job: MakeJob) -> Callable[..., Job]:
    """Return the same, read."""
    return lambda *args, **status: read_job(make_job(*args, **status))


@dataclass
class ListServer:
    """A transport that gives its answers one after another, and remembers what it was asked."""

    answers: list[Any] = field(default_factory=list)
    watches: list[list[Any]] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)

    def send(self, request: Request) -> Any:
        self.asked.append(request)
        return _said(self.answers.pop(0))

    def watch(self, request: Request) -> Iterator[Values]:
        self.asked.append(request)
        for event in self.watches.pop(0) if self.watches else []:
            yield _said(event)

    def close(self) -> None:
        """There is nothing to let go of."""


def _said(answer: Any) -> Any:
    if isinstance(answer, KubedistillError):
        raise answer
    return answer


@pytest.fixture
def server() -> ListServer:
    return ListServer()
