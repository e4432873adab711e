"""A pod's volumes and environment as folders and variables of this machine."""

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubedistill.canonical import text_digest
from support.fake_kuberay.api import Api, Object

Values = Mapping[str, Any]
ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
ACCOUNT_VARIABLE = "KUBEDISTILL_SERVICE_ACCOUNT"
_TRIES, _TRY_SECONDS = 300, 0.1
_PASSED_ON = ("PATH", "LANG", "LD_LIBRARY_PATH")


@dataclass(slots=True)
class Mounts:
    """Where each mount of a pod's first container is: mount path -> folder."""

    api: Api
    pod: Object
    folder: Path
    claims: Mapping[str, Path]
    """Folders of volume claims; another claim gets one next to the pods."""
    token: str = ""
    places: dict[str, Path] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """The sha256 of each job.json as it was stored, and as it is mounted, with places of this machine."""

    async def make(self) -> None:
        """Write every volume; what is mapped to a claim's folder is there already."""
        volumes = {one["name"]: one for one in self.pod["spec"].get("volumes", ())}
        for mount in self._container.get("volumeMounts", ()):
            self.places[mount["mountPath"]] = await self._place(volumes[mount["name"]])
        for path, folder in self.places.items():
            self._rewrite(folder, volumes, path=path)

    async def environment(self) -> dict[str, str]:
        """Return the container's variables, those of a pod, and the few of ours that any process needs."""
        server = urlsplit(self.api.server)
        found = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        found |= {
            "HOME": str(self.folder),
            "KUBERNETES_SERVICE_HOST": server.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(server.port or 443),
            "KUBEDISTILL_POD": self.pod["metadata"]["uid"],
        }
        if account := self.places.get(ACCOUNT_PATH):
            found[ACCOUNT_VARIABLE] = str(account)
        for source in self._container.get("envFrom", ()):
            secret = await self.api.get("secrets", self._key(source["secretRef"]["name"]))
            found |= {name: _decode(value) for name, value in ((secret or {}).get("data") or {}).items()}
        for variable in self._container.get("env", ()):
            if "value" in variable:
                found[variable["name"]] = self.translate(variable["value"])
        return found

    def translate(self, text: str) -> str:
        """Return a string with its mount paths replaced by folders, or the digest of a job that was stored."""
        text = self.digests.get(text, text)
        for path, folder in sorted(self.places.items(), key=lambda place: -len(place[0])):
            text = text.replace(f"file://{path}", folder.as_uri())
            if text == path or text.startswith(f"{path}/"):
                text = f"{folder}{text.removeprefix(path)}"
        return text

    @property
    def _container(self) -> Values:
        container: Values = self.pod["spec"]["containers"][0]
        return container

    def _key(self, name: str) -> tuple[str, str]:
        return self.pod["metadata"]["namespace"], name

    async def _place(self, volume: Values) -> Path:
        if claim := volume.get("persistentVolumeClaim"):
            name = claim["claimName"]
            folder = self.claims.get(name, self.folder.parent / "claims" / name)
            folder.mkdir(parents=True, exist_ok=True)
            return folder.absolute()
        folder = self.folder / "volumes" / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (await self._files(volume)).items():
            (folder / name).write_text(text)
        return folder.absolute()

    async def _files(self, volume: Values) -> dict[str, str]:
        if "configMap" in volume:
            return await self._config_map(volume["configMap"]["name"], items=volume["configMap"].get("items"))
        if "secret" in volume:
            found = await self.api.get("secrets", self._key(volume["secret"]["secretName"]))
            return {name: _decode(value) for name, value in ((found or {}).get("data") or {}).items()}
        files: dict[str, str] = {}
        for source in (volume.get("projected") or {}).get("sources", ()):
            if "serviceAccountToken" in source:
                files[source["serviceAccountToken"]["path"]] = self.token
            elif "configMap" in source:
                files |= await self._config_map(source["configMap"]["name"], items=source["configMap"].get("items"))
            elif "downwardAPI" in source:
                files |= {one["path"]: self.pod["metadata"]["namespace"] for one in source["downwardAPI"]["items"]}
        return files

    async def _config_map(self, name: str, *, items: list[Values] | None) -> dict[str, str]:
        for _ in range(_TRIES):  # as the kubelet, which starts no container before it has all that it mounts
            if (found := await self.api.get("configmaps", self._key(name))) is not None:
                break
            await asyncio.sleep(_TRY_SECONDS)
        else:
            raise FileNotFoundError(f"ConfigMap {name}, which pod {self.pod['metadata']['name']} mounts")
        data = found.get("data") or {}
        return {one["path"]: data[one["key"]] for one in items} if items else data

    def _rewrite(self, folder: Path, volumes: Mapping[str, Values], *, path: str) -> None:
        """A stage's job names places in the pod: they become folders of this machine."""
        job = folder / "job.json"
        if job.is_file() and not any(path.startswith(claimed) for claimed in self._claimed(volumes)):
            stored = job.read_text()
            mounted = json.dumps(_map_texts(json.loads(stored), self.translate))
            job.write_text(mounted)
            self.digests[text_digest(stored)] = text_digest(mounted)

    def _claimed(self, volumes: Mapping[str, Values]) -> list[str]:
        mounts = self._container.get("volumeMounts", ())
        return [one["mountPath"] for one in mounts if "persistentVolumeClaim" in volumes[one["name"]]]


def _map_texts(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_texts(one, change) for one in value]
    if isinstance(value, dict):
        return {name: _map_texts(one, change) for name, one in value.items()}
    return value


def _decode(value: str) -> str:
    return base64.b64decode(value).decode()
