"""The cluster: all requests to the API server but those of the watches. Plain dicts in and out, each with a timeout."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from pydantic_core import from_json

from kubedistill import __version__
from kubedistill_operator.cluster.api_errors import (
    AlreadyExists,
    Conflict,
    NotFound,
    ReadRefused,
    Refused,
    Transient,
)
from kubedistill_operator.cluster.server_clock import ServerClock
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.plan import Manifest

READ_SECONDS, LIST_SECONDS, WRITE_SECONDS = 10.0, 30.0, 10.0
_PAGE, _FORBIDDEN = 500, 403
_JSON, _PATCH = "application/json", "application/json-patch+json"
_NAME_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

WriteDeadline = Callable[[], float]
"""Called before every write; returns how many seconds it may take. Raises LeaseLost if nothing may be written."""
OnRequest = Callable[[str, str], None]
"""Called with (method, HTTP status or <error>) for every request."""


class Cluster:
    """One client of the API server.

    Every method raises Transient if the server is busy or cannot be reached, and Refused if it denies the request:
    ReadRefused if we lack a right to read.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        write_deadline: WriteDeadline,
        on_request: OnRequest = lambda _method, _code: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.clock = ServerClock(wall)
        self._client: Any = ApiClient(configuration)
        self._client.user_agent = f"kubedistill-operator/{__version__}"
        self._write_deadline, self._on_request = write_deadline, on_request

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        """Return one object as it is now; None if it does not exist."""
        try:
            return await self._read("get", kind, name, namespace=namespace)
        except NotFound:
            return None

    async def exists(self, kind: str, name: str, *, namespace: str = "") -> bool:
        """Return whether an object exists, without reading its content."""
        try:
            await self._read("get", kind, name, namespace=namespace, accept=_NAME_ONLY)
        except NotFound:
            return False
        return True

    async def select(self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "") -> list[Manifest]:
        """Return all objects of a kind that a label selector and a field selector match, as they are now."""
        pages = self._pages(kind, namespace=namespace, labels=labels, fields=fields, accept=_JSON)
        return [item async for item in pages]

    async def names(self, kind: str, *, namespace: str = "") -> set[tuple[str, str]]:
        """Return (namespace, name) of all objects of a kind; much cheaper than a list."""
        pages = self._pages(kind, namespace=namespace, labels="", accept=_NAMES_ONLY)
        return {(item["metadata"]["namespace"], item["metadata"]["name"]) async for item in pages}

    async def serves(self, kind: str) -> bool:
        """Return whether the server knows a kind."""
        root = KINDS[kind].path().rpartition("/")[0]
        try:
            found = await self._request("GET", root, seconds=READ_SECONDS)
        except Refused as error:
            if error.code == 404:
                return False
            raise
        return any(one.get("name") == KINDS[kind].plural for one in found.get("resources", []))

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises AlreadyExists if its name is in use."""
        path = KINDS[manifest["kind"]].path(namespace=manifest["metadata"]["namespace"])
        return await self._write("POST", path, manifest)

    async def replace(self, manifest: Manifest, *, subresource: str = "") -> Manifest:
        """Replace an object or its status; raises Conflict unless it still has the manifest's resourceVersion."""
        metadata = manifest["metadata"]
        path = KINDS[manifest["kind"]].path(
            namespace=metadata["namespace"], name=metadata["name"], subresource=subresource
        )
        return await self._write("PUT", path, manifest)

    async def patch(self, kind: str, name: str, operations: list[Manifest], *, namespace: str) -> Manifest:
        """Apply a JSON patch; raises NotFound, or Refused with code 422 if one of its tests fails."""
        return await self._write("PATCH", KINDS[kind].path(namespace=namespace, name=name), operations, content=_PATCH)

    async def delete(self, kind: str, name: str, *, namespace: str, uid: str) -> None:
        """Delete an object and what it owns, in the background; do nothing if it is gone, or was replaced."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._write("DELETE", KINDS[kind].path(namespace=namespace, name=name), options)
        except (NotFound, Conflict):
            return

    async def _pages(
        self, kind: str, *, namespace: str, labels: str, accept: str, fields: str = ""
    ) -> AsyncIterator[Manifest]:
        following = ""
        while True:
            query = {
                "limit": str(_PAGE),
                "labelSelector": labels,
                "fieldSelector": fields,
                "continue": following,
            }
            query = {name: value for name, value in query.items() if value}
            page = await self._read("list", kind, namespace=namespace, accept=accept, query=query)
            for item in page.get("items") or []:
                yield {"kind": kind, **item}
            following = (page.get("metadata") or {}).get("continue") or ""
            if not following:
                return

    async def _read(
        self,
        verb: Literal["get", "list"],
        kind: str,
        name: str = "",
        *,
        namespace: str,
        accept: str = _JSON,
        query: dict[str, str] | None = None,
    ) -> Manifest:
        path = KINDS[kind].path(namespace=namespace, name=name)
        seconds = READ_SECONDS if verb == "get" else LIST_SECONDS
        try:
            return await self._request("GET", path, seconds=seconds, accept=accept, query=query)
        except Refused as error:
            if error.code != _FORBIDDEN:
                raise
            raise ReadRefused(error, verb=verb, resource=KINDS[kind].resource, namespace=namespace) from error

    async def _write(self, method: str, path: str, body: Any, *, content: str = _JSON) -> Manifest:
        seconds = min(WRITE_SECONDS, self._write_deadline())
        return await self._request(method, path, seconds=seconds, body=body, content=content)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        body: Any = None,
        query: dict[str, str] | None = None,
        accept: str = _JSON,
        content: str = _JSON,
    ) -> Manifest:
        code, began = "<error>", self.clock.wall()
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                body=body,
                auth_settings=["BearerToken"],
                header_params={"Accept": accept, "Content-Type": content},
            )
            answer = await self._client.call_api(*request, _request_timeout=aiohttp.ClientTimeout(total=seconds))
            self.clock.note(answer.headers.get("Date", ""), began=began)
            text = await answer.read()
            code = str(answer.status)
            found = _decode(text) if answer.status >= 400 else from_json(text)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Transient(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            self._on_request(method, code)
        if answer.status >= 400:
            raise _failure(answer.status, found, what=f"{method} {path}", after=answer.headers.get("Retry-After"))
        return dict(found)


def _decode(text: bytes) -> Manifest:
    """Return the server's description of a failure; proxies and unknown paths answer in plain text."""
    try:
        found = from_json(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": text.decode(errors="replace")[:200]}


def _failure(code: int, status: Manifest, *, what: str, after: str | None) -> Exception:
    """Return the error that an answer of 400 or more stands for."""
    reason, message = str(status.get("reason") or ""), f"{what}: {code} {status.get('message') or ''}"
    if code == 404:
        unknown = Refused(f"{what}: the server does not know this kind", code=code, reason=reason)
        return NotFound(message) if reason == "NotFound" else unknown
    if code == 409:
        return AlreadyExists(message) if reason == "AlreadyExists" else Conflict(message)
    if code in (401, 408, 410, 429) or code >= 500:  # 401: the token was just renewed; 410: the next page has expired
        return Transient(message, after=float(after) if after and after.isdigit() else None)
    return Refused(message, code=code, reason=reason)
