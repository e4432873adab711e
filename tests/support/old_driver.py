"""The driver and the pods of a child that a stored job left running: played by hand, with the rights that it has."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.cluster_setup import account_kubeconfig
from support.fake_kuberay.driver import now
from support.kube_api import JSON_PATCH, Api, Manifest
from support.stored_release import StoredJob

RAYJOBS = "ray.io/v1/RayJob"


@dataclass(frozen=True, slots=True)
class OldDriver:
    """The driver that owns the attempt which a stored job was at, with the token of its account."""

    admin: Api
    stored: StoredJob
    stage: str
    folder: Path

    @property
    def child(self) -> str:
        return str(self.stored.stage(self.stage)["child"])

    @property
    def uid(self) -> str:
        """The uid of its child as it is now; empty where there is none."""
        found = self.admin.get(RAYJOBS, self.child, namespace=self.stored.name)
        return found["metadata"]["uid"] if found else ""

    @property
    def channel(self) -> dict[str, str]:
        found = self.admin.get("v1/ConfigMap", f"{self.child}-out", namespace=self.stored.name)
        return (found or {}).get("data") or {}

    def says(self, done: int, total: int) -> None:
        """Say how far the work is."""
        self._write("progress.json", contract=1, at=now(), state="Working", done=done, total=total)

    def ends(self, outcome: str) -> None:
        """Write the result, and let the cluster end as KubeRay ends it."""
        self._write(
            "result.json",
            contract=1,
            driver=self.channel["owner"].partition(":")[2],
            outcome=outcome,
            startedAt=now(),
            endedAt=now(),
            gpuSeconds=10.0,
            artifacts=self._made() if outcome == "Succeeded" else {},
        )
        self.leaves()

    def leaves(self) -> None:
        """Let the pods go and the RayJob be complete."""
        uid = self.uid
        for pod in self.stored.of("Pod"):
            if pod["metadata"]["ownerReferences"][0]["uid"] == uid:
                path = f"/api/v1/namespaces/{self.stored.name}/pods/{pod['metadata']['name']}"
                self.admin.request("delete", path, body={"gracePeriodSeconds": 0})
        over = {"status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "endTime": now()}}
        self.admin.patch(RAYJOBS, self.child, over, namespace=self.stored.name, subresource="status")

    def _made(self) -> dict[str, Any]:
        told: Manifest = json.loads(dict(self.stored.data("job.json"))[self.child])
        made = {"Train": ("student",), "Generate": ("answers", "judge")}[self.stage]
        return {
            name: {"key": key, "uri": f"{told['store']}/artifacts/{name}/{key}", "complete": True}
            for name, key in told["artifacts"].items()
            if name in made
        }

    def _write(self, key: str, **values: Any) -> None:
        account = self.stored.of("ServiceAccount")[0]["metadata"]["name"]
        file = account_kubeconfig(
            self.admin, account, namespace=self.stored.name, file=self.folder / f"{self.stored.name}.kubeconfig"
        )
        changes = [
            {"op": "test", "path": "/data/owner", "value": self.channel["owner"]},
            {"op": "add", "path": f"/data/{key}", "value": json.dumps(values)},
        ]
        with Api(file) as api:
            api.patch("v1/ConfigMap", f"{self.child}-out", changes, namespace=self.stored.name, content_type=JSON_PATCH)
