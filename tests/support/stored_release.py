"""What earlier versions stored, as tests/upgrade keeps it, and how it comes back into a cluster.

Objects are put into etcd itself, since the API server would give them new uids, of which the names of a job's objects
and the claims of its drivers are made. Their times are moved to now: a job that waited for months has run out of time.
"""

import base64
import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support.cluster_setup import ROOT, read_manifests
from support.control_plane import ControlPlane
from support.kube_api import Manifest

RELEASES = ROOT / "tests" / "upgrade"
_OTHERS = ("crd", "release", "values")
"""Files of a release that are not jobs; the last one is what its chart stored."""
_RBAC = "rbac.authorization.k8s.io/v1"
_RESOURCES = {
    "kubedistill.io/v1alpha1/DistillationJob": ("/apis/kubedistill.io/v1alpha1", "distillationjobs"),
    "v1/ConfigMap": ("/api/v1", "configmaps"),
    "v1/ServiceAccount": ("/api/v1", "serviceaccounts"),
    f"{_RBAC}/Role": (f"/apis/{_RBAC}", "roles"),
    f"{_RBAC}/RoleBinding": (f"/apis/{_RBAC}", "rolebindings"),
    "batch/v1/Job": ("/apis/batch/v1", "jobs"),
    "ray.io/v1/RayJob": ("/apis/ray.io/v1", "rayjobs"),
    "v1/Pod": ("/api/v1", "pods"),
}
KINDS = tuple(_RESOURCES)
"""All that a job leads to, owners first, but for Events."""
_CUSTOM = ("kubedistill.io", "ray.io")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=(\.\d+)?(Z|\+00:00))")


def resource_of(kind: str) -> tuple[str, str]:
    """Return the path of a kind's group and version, and its plural."""
    return _RESOURCES[kind]


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One job and all that belonged to it, as they were stored."""

    name: str
    objects: tuple[Manifest, ...]

    @property
    def job(self) -> Manifest:
        (found,) = self.of("DistillationJob")
        return found

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.job["status"]
        return status

    def of(self, kind: str) -> list[Manifest]:
        return [one for one in self.objects if one["kind"] == kind]

    def stage(self, name: str) -> dict[str, Any]:
        """Return the status of a stage."""
        found: dict[str, Any] = next(one for one in self.status["stages"] if one["name"] == name)
        return found

    def data(self, key: str) -> Iterator[tuple[str, str]]:
        """Yield (name of the ConfigMap, text) of every ConfigMap that has this key."""
        for one in self.of("ConfigMap"):
            if key in one.get("data", {}):
                yield one["metadata"]["name"], one["data"][key]


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """One folder of tests/upgrade."""

    folder: Path

    @property
    def version(self) -> str:
        return self.folder.name

    @property
    def commit(self) -> str:
        return str(self._release["commit"])

    @property
    def operator(self) -> Path:
        """The archive of its operator's code."""
        return self.folder / "operator.tar.xz"

    @property
    def crd(self) -> Manifest:
        (crd,) = read_manifests(self.folder / "crd.yaml")
        return crd

    @property
    def stage_job_schema(self) -> dict[str, Any]:
        """The JSON schema of a StageJob."""
        schema: dict[str, Any] = json.loads((self.folder / "stage-job.schema.json").read_text(encoding="utf-8"))
        return schema

    @property
    def artifacts(self) -> list[str]:
        """The artifacts that its images know."""
        names: list[str] = self.stage_job_schema["properties"]["artifacts"]["propertyNames"]["enum"]
        return names

    @property
    def jobs(self) -> dict[str, StoredJob]:
        return _read_jobs(self.folder)

    def restore(self, plane: ControlPlane, name: str, *, now: float) -> StoredJob:
        """Put a job and all that belonged to it where it was, as if the recording had ended just now."""
        later = timedelta(seconds=int(now) - int(self._release["recordedAt"]))
        job = self.jobs[name]
        moved = tuple(json.loads(_move(json.dumps(one), later)) for one in job.objects)
        for one in moved:
            put_object(plane, one)
        return StoredJob(name, moved)

    @property
    def _release(self) -> Mapping[str, Any]:
        release: Mapping[str, Any] = yaml.safe_load((self.folder / "release.yaml").read_text(encoding="utf-8"))
        return release


def releases() -> list[StoredRelease]:
    """Return all that were recorded."""
    return [StoredRelease(file.parent) for file in sorted(RELEASES.glob("*/release.yaml"))]


class _Strings(yaml.CSafeLoader):
    """A loader to which a time is a string, as it is to Kubernetes."""


_Strings.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@cache
def _read_jobs(folder: Path) -> dict[str, StoredJob]:
    files = [file for file in sorted(folder.glob("*.yaml")) if file.stem not in _OTHERS]
    texts = {file.stem: file.read_text(encoding="utf-8") for file in files}
    return {name: StoredJob(name, tuple(yaml.load_all(text, Loader=_Strings))) for name, text in texts.items()}


def _move(text: str, later: timedelta) -> str:
    return _TIME.sub(lambda found: (datetime.fromisoformat(found[0]) + later).isoformat(), text)


def _key(one: Manifest) -> str:
    group = one["apiVersion"].rpartition("/")[0]
    _, plural = resource_of(f"{one['apiVersion']}/{one['kind']}")
    prefix = f"{group}/{plural}" if group in _CUSTOM else plural
    return f"/registry/{prefix}/{one['metadata']['namespace']}/{one['metadata']['name']}"


def put_object(plane: ControlPlane, value: Manifest) -> None:
    """Put an object into etcd as it is, past all that the API server checks."""
    body = {"key": _key(value).encode(), "value": json.dumps(value).encode()}
    encoded = json.dumps({name: base64.b64encode(text).decode() for name, text in body.items()}).encode()
    with urllib.request.urlopen(f"{plane.etcd_url}/v3/kv/put", data=encoded, timeout=30):
        pass
