"""JSON in and out of a Kubernetes API server, and mirrors of what it holds."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""
ROOTS = {
    "configmaps": "/api/v1", "nodes": "/api/v1", "pods": "/api/v1", "secrets": "/api/v1", "serviceaccounts": "/api/v1",
    "events": "/api/v1", "services": "/api/v1",
    "distillationjobs": "/apis/kubedistill.io/v1alpha1", "jobs": "/apis/batch/v1", "rayjobs": "/apis/ray.io/v1",
}  # fmt: skip
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
_PATIENCE, _PAUSE = 120.0, 0.3
_PASSING = (429, 500, 502, 503, 504)


class Refused(Exception):
    """The API server said no."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


@dataclass(slots=True)
class Api:
    """One user's way to one API server. Every request is repeated for two minutes while nobody answers."""

    server: str
    ca: str
    """The certificate of its authority, as PEM."""
    headers: Mapping[str, str]
    _session: aiohttp.ClientSession
    _bearers: aiohttp.ClientSession
    """For whoever has a token: a client certificate on the connection would win over it."""

    @classmethod
    def from_kubeconfig(cls, path: Path) -> "Api":
        """Return the user of the current context: a token or a client certificate."""
        cluster, user = _entries(path)
        data = cluster.get("certificate-authority-data")
        ca = base64.b64decode(data).decode() if data else Path(cluster["certificate-authority"]).read_text()
        bearers = _connect(ssl.create_default_context(cadata=ca))
        if token := user.get("token"):
            headers = {"Authorization": f"Bearer {token}"}
            return cls(cluster["server"].rstrip("/"), ca, headers, bearers, bearers)
        context = ssl.create_default_context(cadata=ca)
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        return cls(cluster["server"].rstrip("/"), ca, {}, _connect(context), bearers)

    def as_bearer(self, token: str) -> "Api":
        """Return the same server for somebody who has this token and nothing else."""
        return Api(self.server, self.ca, {"Authorization": f"Bearer {token}"}, self._bearers, self._bearers)

    async def close(self) -> None:
        await self._session.close()
        await self._bearers.close()

    async def get(self, kind: str, key: Key) -> Object | None:
        """Return one object; None where it is not there."""
        try:
            return await self._request("GET", _path(kind, key))
        except Refused as error:
            if error.code == 404:
                return None
            raise

    async def create(self, kind: str, key: Key, body: Object, *, sub: str = "") -> Object:
        """POST an object, or to a subresource of one."""
        return await self._request("POST", _path(kind, key if sub else (key[0], ""), sub), body=body)

    async def patch(self, kind: str, key: Key, body: Any, *, sub: str = "", how: str = MERGE) -> Object:
        return await self._request("PATCH", _path(kind, key, sub), body=body, content_type=how)

    async def replace_status(self, kind: str, body: Object) -> Object:
        """PUT a status; refused with 409 where the object has moved on."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        return await self._request("PUT", _path(kind, key, "status"), body=body)

    async def delete(self, kind: str, key: Key, *, uid: str = "", grace: int | None = None) -> None:
        """Delete an object if it is still this one; it is well if it was not there."""
        options: Object = {"preconditions": {"uid": uid}} if uid else {}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._request("DELETE", _path(kind, key), body=options)
        except Refused as error:
            if error.code not in (404, 409):
                raise

    async def list(self, kind: str, namespace: str) -> Object:
        return await self._request("GET", _path(kind, (namespace, "")))

    async def watch(self, kind: str, namespace: str, version: str) -> AsyncIterator[Object]:
        """Yield the events after a resourceVersion, until the server ends the stream."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "300"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=330)
        url = self.server + _path(kind, (namespace, ""))
        async with self._session.get(url, params=query, headers=self.headers, timeout=timeout) as answer:
            answer.raise_for_status()
            rest = b""
            async for chunk in answer.content.iter_any():  # a line may be longer than aiohttp's readline takes
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    async def _request(self, method: str, path: str, *, body: Any = None, content_type: str = "") -> Object:
        headers = {**self.headers, "Content-Type": content_type or "application/json"}
        data, until = None if body is None else json.dumps(body), asyncio.get_running_loop().time() + _PATIENCE
        while True:
            try:
                async with self._session.request(method, self.server + path, data=data, headers=headers) as answer:
                    values = await answer.json(content_type=None)
                    if answer.status < 400:
                        return values
                    refusal: Exception = Refused(answer.status, (values or {}).get("message", ""))
                    if answer.status not in _PASSING:
                        raise refusal
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, ValueError) as error:
                refusal = error  # ValueError: a stopping server answers in its own words
            if asyncio.get_running_loop().time() > until:
                raise refusal
            await asyncio.sleep(_PAUSE)


@dataclass(slots=True)
class Mirror:
    """All objects of a kind as the server last told; `changed` is called with (key, object), None once it is gone."""

    api: Api
    kind: str
    namespace: str
    changed: Callable[[Key, Object | None], None]
    objects: dict[Key, Object] = field(default_factory=dict)

    async def follow(self) -> None:
        """List and watch, and start again whenever the stream ends."""
        while True:
            listed = await self.api.list(self.kind, self.namespace)
            found = {_key(one): one for one in listed["items"]}
            for key in [key for key in self.objects if key not in found]:
                self._take(key, None)
            for key, one in found.items():
                self._take(key, one)
            try:
                await self._watch(listed["metadata"]["resourceVersion"])
            except (aiohttp.ClientError, TimeoutError, ValueError):
                await asyncio.sleep(_PAUSE)

    async def _watch(self, version: str) -> None:
        async for event in self.api.watch(self.kind, self.namespace, version):
            if event["type"] == "ERROR":
                return
            self._take(_key(event["object"]), None if event["type"] == "DELETED" else event["object"])

    def _take(self, key: Key, found: Object | None) -> None:
        if found is None:
            self.objects.pop(key, None)
        elif self.objects.get(key) == found:
            return
        else:
            self.objects[key] = found
        self.changed(key, found)


def _key(value: Object) -> Key:
    return value["metadata"].get("namespace", ""), value["metadata"]["name"]


def _path(kind: str, key: Key, sub: str = "") -> str:
    parts = [ROOTS[kind], *(("namespaces", key[0]) if key[0] else ()), kind, key[1], sub]
    return "/".join(part for part in parts if part)


def _connect(context: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=context, limit=64)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30))


def _entries(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    config = yaml.safe_load(path.read_text())
    context = next(one["context"] for one in config["contexts"] if one["name"] == config["current-context"])
    cluster = next(one["cluster"] for one in config["clusters"] if one["name"] == context["cluster"])
    user = next(one["user"] for one in config["users"] if one["name"] == context["user"])
    return cluster, user
