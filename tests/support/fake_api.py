"""An API server in memory, over real HTTP: REST, resourceVersions, JSON patches and preconditions, and no more.

What it does not play is checked against a real API server in tests/cluster: schemas, admission, RBAC, watches.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web
from kubernetes.aio.client import Configuration

Object = dict[str, Any]
Place = tuple[str, str, str]
"""(collection without namespace, namespace, name)"""


@dataclass
class FakeApi:
    """The objects that it holds, and what it was asked."""

    objects: dict[Place, Object] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of every request, in order."""
    metadata_only: list[str] = field(default_factory=list)
    """Paths of objects of which nothing but their metadata was asked for."""
    before: Callable[[str, str], Awaitable[web.Response | None]] | None = None
    """Asked before every request; what it gives is the answer."""
    server: str = ""
    page: int = 500
    _versions: "count[int]" = field(default_factory=lambda: count(1))

    def put(self, manifest: Object, *, collection: str) -> Object:
        """Hold an object without a request, as another client would have made it."""
        return self._store(collection, manifest["metadata"].get("namespace", ""), manifest)

    def find(self, collection: str, name: str, *, namespace: str = "team-a") -> Object | None:
        """Return an object that it holds."""
        return self.objects.get((collection, namespace, name))

    def writes(self) -> list[tuple[str, str]]:
        """Return the requests that change something."""
        return [request for request in self.requests if request[0] != "GET"]

    @property
    def configuration(self) -> Configuration:
        """How a client reaches it."""
        return Configuration(host=self.server)

    def write_kubeconfig(self, path: Path) -> Path:
        """Return the same for a process of its own."""
        values = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "users": [{"name": "me", "user": {}}],
            "clusters": [{"name": "here", "cluster": {"server": self.server}}],
            "contexts": [{"name": "test", "context": {"cluster": "here", "user": "me"}}],
        }
        path.write_text(json.dumps(values))  # YAML is a superset
        return path

    async def answer(self, request: web.Request) -> web.Response:
        """Return one request."""
        self.requests.append((request.method, request.path))
        if self.before is not None and (given := await self.before(request.method, request.path)) is not None:
            return given
        collection, namespace, name, subresource = _parse(request.path)
        body = json.loads(await request.text() or "null")
        if not name:
            if request.method == "POST":
                return self._create(collection, namespace, body)
            return self._list(request, collection, namespace)
        found = self.objects.get((collection, namespace, name))
        if found is None:
            return refusal(404, "NotFound", f'{collection} "{name}" not found')
        if request.method == "GET":
            if "PartialObjectMetadata" in request.headers["Accept"]:
                found = {"kind": "PartialObjectMetadata", "metadata": found["metadata"]}
                self.metadata_only.append(request.path)
            return web.json_response(found)
        if request.method == "PUT":
            return self._replace(collection, namespace, found, body, subresource)
        if request.method == "PATCH":
            return self._patch(collection, namespace, found, body)
        return self._delete(collection, namespace, found, body)

    def _create(self, collection: str, namespace: str, body: Object) -> web.Response:
        if (collection, namespace, body["metadata"]["name"]) in self.objects:
            return refusal(409, "AlreadyExists", "already exists")
        return web.json_response(self._store(collection, namespace, body), status=201)

    def _list(self, request: web.Request, collection: str, namespace: str) -> web.Response:
        wanted = dict(part.split("=") for part in request.query.get("labelSelector", "").split(",") if part)
        fields = [part.split("=") for part in request.query.get("fieldSelector", "").split(",") if part]
        found = [
            one
            for (place, space, _), one in sorted(self.objects.items())
            if place == collection
            and namespace in ("", space)
            and wanted.items() <= one["metadata"].get("labels", {}).items()
            and all(_value_at(one, path) == value for path, value in fields)
        ]
        start = int(request.query.get("continue", "0"))
        end = start + min(self.page, int(request.query.get("limit", "500")))
        following = {"continue": str(end)} if end < len(found) else {}
        return web.json_response({"metadata": following, "items": found[start:end]})

    def _replace(self, collection: str, namespace: str, found: Object, body: Object, subresource: str) -> web.Response:
        metadata = body["metadata"]
        if metadata.get("resourceVersion") not in (None, found["metadata"]["resourceVersion"]):
            return refusal(409, "Conflict", "the object has been modified")
        if metadata.get("uid") not in (None, found["metadata"]["uid"]):
            return refusal(409, "Conflict", "Precondition failed: UID in precondition")
        new = {**found, "status": body.get("status", {})} if subresource == "status" else {**found, **body}
        new["metadata"] = found["metadata"]
        return web.json_response(self._store(collection, namespace, new))

    def _patch(self, collection: str, namespace: str, found: Object, operations: list[Object]) -> web.Response:
        new = json.loads(json.dumps(found))
        for operation in operations:
            *parents, last = operation["path"].strip("/").replace("~1", "/").split("/")
            target = new
            for parent in parents:
                target = target[parent]
            if operation["op"] == "test":
                if target.get(last) != operation["value"]:
                    return refusal(422, "Invalid", "testing value failed")
            else:
                target[last] = operation["value"]
        return web.json_response(self._store(collection, namespace, new))

    def _delete(self, collection: str, namespace: str, found: Object, options: Object | None) -> web.Response:
        wanted = ((options or {}).get("preconditions") or {}).get("uid")
        if wanted not in (None, found["metadata"]["uid"]):
            return refusal(409, "Conflict", "Precondition failed: UID in precondition")
        del self.objects[collection, namespace, found["metadata"]["name"]]
        return web.json_response({"kind": "Status", "status": "Success"})

    def _store(self, collection: str, namespace: str, manifest: Object) -> Object:
        version = next(self._versions)
        metadata = {
            "uid": f"uid-{version}",
            "creationTimestamp": "2026-03-01T12:00:00Z",
            **manifest["metadata"],
            "resourceVersion": str(version),
        }
        stored = {**manifest, "metadata": metadata}
        self.objects[collection, namespace, metadata["name"]] = stored
        return stored


def refusal(code: int, reason: str, message: str, **headers: str) -> web.Response:
    """Return an answer that says no, as Kubernetes says it."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return web.json_response(body, status=code, headers=headers)


@asynccontextmanager
async def serving(api: FakeApi) -> AsyncIterator[FakeApi]:
    """Serve on a port of the loopback interface."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    api.server = f"http://127.0.0.1:{port}"
    try:
        yield api
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)  # what closes its sockets runs once more


def _value_at(values: Any, path: str) -> Any:
    for step in path.split("."):
        values = values.get(step, {})
    return values


def _parse(path: str) -> tuple[str, str, str, str]:
    """Return (collection, namespace, name, subresource) of a path."""
    parts = path.strip("/").split("/")
    root, rest = (parts[:2], parts[2:]) if parts[0] == "api" else (parts[:3], parts[3:])
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    return "/".join([*root[1:], plural]), namespace, name, subresource
