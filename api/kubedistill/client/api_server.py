"""Transports to the API server over the two clients of the `kubernetes` library, with the same calls for both."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from kubedistill import __version__
from kubedistill.client.access import Access
from kubedistill.client.request import WATCH_SECONDS, Request, Values
from kubedistill.client.responses import read_answer
from kubedistill.errors import ClusterUnavailable, NoCluster

_METHODS = {"apply": "PATCH", "merge": "PATCH", "delete": "DELETE"}
_CONTENTS = {"apply": "application/apply-patch+yaml", "merge": "application/merge-patch+json"}
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_SECONDS = 30.0
_AGENT = f"kubedistill/{__version__}"


@dataclass(frozen=True, slots=True)
class _Call:
    """A request as HTTP, for both clients."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any
    seconds: float

    @classmethod
    def of(cls, request: Request) -> "_Call":
        """Return the HTTP call of a request."""
        accept = {"log": "*/*", "table": _TABLE}.get(request.verb, "application/json")
        headers = {"Accept": accept, "Content-Type": _CONTENTS.get(request.verb, "application/json")}
        query, seconds = dict(request.query), _SECONDS
        if request.verb == "watch":
            query = {"watch": "true", "timeoutSeconds": str(WATCH_SECONDS)} | query
            seconds = WATCH_SECONDS + _SECONDS
        method = _METHODS.get(request.verb, "GET")
        return cls(method, request.path, list(query.items()), headers, request.body, seconds)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of param_serialize, which both clients have; the library has no types for our kinds."""
        return {
            "method": self.method,
            "resource_path": self.path,
            "query_params": self.query,
            "body": self.body,
            "header_params": dict(self.headers),
            "auth_settings": ["BearerToken"],
        }


class ApiServer:
    """The synchronous transport; raises NoCluster if the kubeconfig does not name a usable cluster."""

    def __init__(self, access: Access) -> None:
        from kubernetes.client import ApiClient
        from kubernetes.config import ConfigException

        with _kubeconfig_errors(ConfigException):
            self._client: Any = ApiClient(access.configure())
        self._client.user_agent = _AGENT

    def send(self, request: Request) -> Any:
        """Return the answer to a request."""
        answer = self._call(request)
        with self._api_errors():
            body = answer.read()
        return read_answer(request, code=answer.status, body=body)

    def watch(self, request: Request) -> Iterator[Values]:
        """Yield the events of a watch, until the server ends it."""
        answer = self._call(request)
        try:
            if answer.status >= 400:
                read_answer(request, code=answer.status, body=answer.read())
            lines = _Lines()
            with self._api_errors():
                for chunk in answer.response.stream(65536):
                    yield from lines.feed(chunk)
        finally:
            answer.response.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, request: Request) -> Any:
        """Send a request, and return the library's response."""
        call = _Call.of(request)
        with self._api_errors():
            serialized = self._client.param_serialize(**call.arguments)
            return self._client.call_api(*serialized, _request_timeout=(10.0, call.seconds))

    @contextlib.contextmanager
    def _api_errors(self) -> Iterator[None]:
        """Raise ClusterUnavailable for errors of the connection."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (HTTPError, ApiException, OSError) as error:
            raise _unreachable(self._client.configuration.host, error) from error


class AsyncApiServer:
    """The asynchronous transport; it connects on the first request."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._connected: Any = None

    async def send(self, request: Request) -> Any:
        """Return the answer to a request."""
        answer = await self._call(request)
        with self._api_errors():
            body = await answer.read()
        return read_answer(request, code=answer.status, body=body)

    async def watch(self, request: Request) -> AsyncIterator[Values]:
        """Yield the events of a watch, until the server ends it."""
        answer = await self._call(request)
        try:
            if answer.status >= 400:
                read_answer(request, code=answer.status, body=await answer.read())
            lines = _Lines()
            with self._api_errors():
                async for chunk in answer.response.content.iter_any():
                    for event in lines.feed(chunk):
                        yield event
        finally:
            transport = answer.response.connection.transport if answer.response.connection is not None else None
            answer.response.close()
            if transport is not None:
                transport.abort()  # a clean TLS shutdown would outlive the event loop of a short program

    async def close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            await self._connected.close()

    async def _call(self, request: Request) -> Any:
        """Send a request, and return the library's response."""
        import aiohttp

        call, client = _Call.of(request), await self._client()
        with self._api_errors():
            serialized = await client.param_serialize(**call.arguments)
            timeout = aiohttp.ClientTimeout(total=None, connect=10.0, sock_read=call.seconds)
            return await client.call_api(*serialized, _request_timeout=timeout)

    async def _client(self) -> Any:
        """Return the client of the library, connected on first use."""
        from kubernetes.aio.client import ApiClient
        from kubernetes.aio.config import ConfigException

        if self._connected is None:
            with _kubeconfig_errors(ConfigException):
                configuration = await self._access.configure_async()
            self._connected = ApiClient(configuration)
            self._connected.user_agent = _AGENT
        return self._connected

    @contextlib.contextmanager
    def _api_errors(self) -> Iterator[None]:
        """Raise ClusterUnavailable for errors of the connection."""
        import aiohttp

        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(self._connected.configuration.host, error) from error


class _Lines:
    """A buffer that splits chunks into lines of JSON."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Values]:
        """Add a chunk, and yield the values of each complete line."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield json.loads(line)


@contextlib.contextmanager
def _kubeconfig_errors(config_exception: type[Exception]) -> Iterator[None]:
    """Raise NoCluster for errors of a kubeconfig.

    Each client of the library has its own ConfigException, and does not check the structure of the file.
    """
    try:
        yield
    except (config_exception, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise NoCluster(f"the kubeconfig does not name a usable cluster ({error})", fix="Fix its context") from error


def _unreachable(host: str, error: BaseException) -> ClusterUnavailable:
    problem = f"the API server at {host} does not answer ({_root_cause(error)})"
    return ClusterUnavailable(problem, fix="Check that it is running, and that this is the right context")


def _root_cause(error: BaseException) -> str:
    """Return the innermost cause in the words of the operating system, because libraries wrap it three times."""
    found, inner = error, error.__cause__ or error.__context__ or getattr(error, "reason", None)
    while isinstance(inner, BaseException) and inner is not found:
        found, inner = inner, inner.__cause__ or inner.__context__ or getattr(inner, "reason", None)
    text = getattr(found, "strerror", None) or str(found) or type(found).__name__
    return str(text).rpartition("] ")[2]
