"""Requests and the other effects of an operation, as values.

An operation is a generator that does no I/O: it yields effects, is sent the outcome of each (or has its error thrown
in), and returns its result. An interpreter performs the effects over a transport, so one operation serves the
synchronous and the asynchronous client.
"""

from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote

from kubedistill.v1alpha1 import API_VERSION, PLURAL

Values = dict[str, Any]
"""A Kubernetes object as JSON values."""
WATCH_SECONDS = 50
"""After so long a watch ends, and is begun anew: a connection that died in silence is found out."""
Verb = Literal["get", "list", "table", "watch", "apply", "merge", "delete", "log"]
Kind = Literal["DistillationJob", "Pod", "Event", "ConfigMap"]
_PLACES: dict[Kind, tuple[str, str]] = {
    "DistillationJob": (f"/apis/{API_VERSION}", PLURAL),
    "Pod": ("/api/v1", "pods"),
    "Event": ("/api/v1", "events"),
    "ConfigMap": ("/api/v1", "configmaps"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One thing asked: values come back, or a text for a log. No namespace means all of them."""

    verb: Verb
    kind: Kind = "DistillationJob"
    namespace: str = ""
    name: str = ""
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where the API server has it."""
        root, plural = _PLACES[self.kind]
        scope = f"/namespaces/{quote(self.namespace, safe='')}" if self.namespace else ""
        named = self.name if self.verb not in ("list", "table", "watch") else ""
        parts = (plural, quote(named, safe="") if named else "", "log" if self.verb == "log" else "")
        return f"{root}{scope}/{'/'.join(part for part in parts if part)}"


@dataclass(frozen=True, slots=True)
class Open:
    """Start a watch; an earlier watch of the operation ends."""

    request: Request


@dataclass(frozen=True, slots=True)
class Next:
    """Read the next event of the watch, as the server writes it; None at its end."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Give a value to the caller at once, before the operation ends."""

    value: Any


Effect = Request | Open | Next | Pause | Emit
Found = TypeVar("Found")
Operation = Generator[Effect, Any, Found]


class Transport(Protocol):
    """Carries requests out, one after another. Raises KubedistillErrors."""

    def send(self, request: Request) -> Any:
        """The answer to a request."""
        ...

    def watch(self, request: Request) -> Iterator[Values]:
        """The events of a watch, until the server ends it."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class AsyncTransport(Protocol):
    """The same, asynchronously."""

    async def send(self, request: Request) -> Any:
        """The answer to a request."""
        ...

    def watch(self, request: Request) -> AsyncIterator[Values]:
        """The events of a watch, until the server ends it."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...
