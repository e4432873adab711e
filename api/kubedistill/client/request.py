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
DEFAULT_NAMESPACE = "default"
WATCH_SECONDS = 50
"""A watch ends after this time and is started again, which detects a connection that died without an error."""
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
    """One request. The answer is values, or a string for a log. No namespace means all namespaces."""

    verb: Verb
    kind: Kind = "DistillationJob"
    namespace: str = ""
    name: str = ""
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path of the resource on the API server."""
        root, plural = _PLACES[self.kind]
        scope = f"/namespaces/{quote(self.namespace, safe='')}" if self.namespace else ""
        named = self.name if self.verb not in ("list", "table", "watch") else ""
        parts = (plural, quote(named, safe="") if named else "", "log" if self.verb == "log" else "")
        return f"{root}{scope}/{'/'.join(part for part in parts if part)}"


@dataclass(frozen=True, slots=True)
class Open:
    """Start a watch, and end an earlier watch of the operation."""

    request: Request


@dataclass(frozen=True, slots=True)
class Next:
    """Return the next event of the watch, as the server sends it, or None at its end."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Pass a value to the caller before the operation ends."""

    value: Any


Effect = Request | Open | Next | Pause | Emit
Found = TypeVar("Found")
Operation = Generator[Effect, Any, Found]


class Transport(Protocol):
    """Performs requests one after another; raises KubedistillErrors."""

    def send(self, request: Request) -> Any:
        """Return the answer to a request."""
        ...

    def watch(self, request: Request) -> Iterator[Values]:
        """Yield the events of a watch, until the server ends it."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


class AsyncTransport(Protocol):
    """Performs requests asynchronously; raises KubedistillErrors."""

    async def send(self, request: Request) -> Any:
        """Return the answer to a request."""
        ...

    def watch(self, request: Request) -> AsyncIterator[Values]:
        """Yield the events of a watch, until the server ends it."""
        ...

    async def close(self) -> None:
        """Release all resources."""
        ...
