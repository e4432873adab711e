"""Kinds of objects that we read or create, and their paths on the API server."""

from dataclasses import dataclass
from urllib.parse import quote

from kubedistill.v1alpha1 import API_VERSION, KIND, PLURAL


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind."""

    name: str
    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.api_version.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """The resource as `kubectl auth can-i` names it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def header(self) -> dict[str, str]:
        """The fields that every object of the kind starts with."""
        return {"apiVersion": self.api_version, "kind": self.name}

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, or of one object; no namespace means all of them."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if namespace and self.namespaced else ""
        parts = (self.plural, *(quote(part, safe="") for part in (name, subresource) if part))
        return f"{root}{scope}/{'/'.join(parts)}"


_RBAC = "rbac.authorization.k8s.io/v1"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(KIND, API_VERSION, PLURAL),
        Kind("RayJob", "ray.io/v1", "rayjobs"),
        Kind("Job", "batch/v1", "jobs"),
        Kind("ConfigMap", "v1", "configmaps"),
        Kind("Pod", "v1", "pods"),
        Kind("ServiceAccount", "v1", "serviceaccounts"),
        Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims"),
        Kind("Event", "v1", "events"),
        Kind("Node", "v1", "nodes", namespaced=False),
        Kind("Namespace", "v1", "namespaces", namespaced=False),
        Kind("Role", _RBAC, "roles"),
        Kind("RoleBinding", _RBAC, "rolebindings"),
        Kind("Lease", "coordination.k8s.io/v1", "leases"),
    )
}
