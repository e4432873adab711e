"""One ConfigMap on the API server: its content, and atomic changes to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard
from urllib.parse import quote

from kubedistill.errors import ChannelUnavailable, ClaimLost
from kubedistill.json_values import Json
from kubedistill_runtime.channel.api_server import ApiServer, Reply, TransientError

Change = dict[str, str]
"""One operation of a JSON Patch (RFC 6902)."""


_RIGHTS_SECONDS = 30.0
"""How long a new RoleBinding may take until it is effective on every API server."""


class NotAllowedError(TransientError):
    """The driver may not read or write its ConfigMap: not yet, or not anymore, since its Role was deleted."""


class ChangeRefusedError(Exception):
    """A patch was refused as a whole: one of its tests failed, or the ConfigMap can't be changed like that."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a ConfigMap at one moment."""

    version: str
    """Its resourceVersion, which changes with every write."""
    data: Mapping[str, str]
    owners: frozenset[str] = frozenset()
    """Uids of its owners."""

    @property
    def owner(self) -> str:
        """The holder of the claim: a token, or `token:driver` once a driver has claimed it."""
        return self.data.get("owner", "")

    @property
    def stop(self) -> bool:
        """Whether the driver is asked to save and exit."""
        return self.data.get("stop") == "true"


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """One ConfigMap in the pod's namespace.

    Both methods raise TransientError if a retry may succeed, ClaimLost if it is gone, and ChannelUnavailable for any
    other failure.
    """

    api: ApiServer
    namespace: str
    name: str

    def read(self) -> Content:
        """Return its current content."""
        return self._content(self.api.call("GET", self._path()))

    def change(self, *changes: Change) -> Content:
        """Apply all changes or none; raises ChangeRefusedError if the API server refuses them."""
        reply = self.api.call("PATCH", self._path(), patch=list(changes))
        if reply.status == 422:
            raise ChangeRefusedError(reply.reason)
        return self._content(reply)

    def __str__(self) -> str:
        return f"ConfigMap {self.namespace}/{self.name}"

    def _path(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/configmaps/{quote(self.name, safe='')}"

    def _content(self, reply: Reply) -> Content:
        """Return the ConfigMap in a reply; raises as the class says for one that has none."""
        if reply.status == 404:
            raise ClaimLost("nobody waits for this attempt anymore: its ConfigMap is gone", at=str(self))
        if reply.status == 403:
            fix = "The driver's ServiceAccount needs get and patch on it"
            raise NotAllowedError(f"it answered {reply.reason}", timeout=_RIGHTS_SECONDS, fix=fix)
        if reply.reason:
            raise ChannelUnavailable(f"the API server answered {reply.reason}", at=str(self))
        metadata, data = reply.values.get("metadata"), reply.values.get("data", {})
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if not (isinstance(version, str) and _is_text(data)):
            raise TransientError("its reply is not a ConfigMap")
        return Content(version, data, _owners(metadata))


def expect(path: str, value: str) -> Change:
    """Return a change that lets the patch through only if a path has this value."""
    return {"op": "test", "path": path, "value": value}


def replace(path: str, value: str) -> Change:
    """Return a change that replaces the value at a path."""
    return {"op": "replace", "path": path, "value": value}


def assign(path: str, value: str) -> Change:
    """Return a change that sets the value at a path, whether it exists or not."""
    return {"op": "add", "path": path, "value": value}


def _owners(metadata: Json) -> frozenset[str]:
    """Return the uids in ownerReferences."""
    found = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    owners = found if isinstance(found, list) else []
    return frozenset(str(owner.get("uid")) for owner in owners if isinstance(owner, dict))


def _is_text(data: Json) -> TypeGuard[Mapping[str, str]]:
    return isinstance(data, dict) and all(isinstance(value, str) for value in data.values())
