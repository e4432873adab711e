"""A cluster as an earlier version left it: its CRD, its running jobs, and objects that today's CRD would refuse."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.chart_release import Release
from support.cluster_setup import ROOT, apply_crds, install_ray_crds, read_manifests
from support.control_plane import ControlPlane
from support.fake_kuberay.background import playing
from support.fake_kuberay.journal import Journal
from support.fake_kuberay.scenarios import Scenario
from support.helm import Helm
from support.kube_api import Api, Manifest, wait_for
from support.old_code import unpack_operator
from support.old_driver import OldDriver
from support.operator_harness import JOBS, make_namespace, small_job
from support.operator_process import Replica, replica
from support.stored_release import StoredJob, StoredRelease
from support.tightened_rules import stored_rows

SYSTEM, TIGHT = "kubedistill-system", "tightened"
SETTINGS: dict[str, Any] = {
    "storage": {"volumeClaim": "shared"},
    "pools": {"gpu": {"nodeSelector": {"kind": "gpu"}, "gpusPerNode": 8, "pricePerGpuHour": 2.5}},
}
SCALE, SECONDS = 0.02, 240.0
UNDISTURBED = Scenario("undisturbed", "")


@dataclass
class OldCluster:
    """A control plane with what a version stored, and the release of today's chart once it is installed."""

    plane: ControlPlane
    api: Api
    old: StoredRelease
    folder: Path
    players: ExitStack
    operator: ExitStack
    stored: dict[str, StoredJob] = field(default_factory=dict)
    release: Release | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {**SETTINGS, "watchNamespaces": [*self.stored]}

    def upgrade(self) -> None:
        """Install today's chart with its CRD, and start the operator."""
        helm = Helm(self.folder / "helm", self.plane.kubeconfig)
        helm.home.mkdir()
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        self.release = Release(helm, self.api, "kubedistill", SYSTEM)
        self.release.install(self.settings, "--take-ownership", crds={"install": True})
        operator = self.operator.enter_context(self.release.replica(self.folder, name="new"))
        self.operator.callback(check, operator)
        wait_for(operator.leads, what="the new operator leads", seconds=SECONDS)

    @contextmanager
    def downgraded(self) -> Iterator[None]:
        """Stop today's operator, and run the old version's own under its own CRD."""
        assert self.release is not None, "it was upgraded before"
        self.operator.close()
        self.api.apply(self.old.crd)
        code = unpack_operator(self.old.operator, self.folder / "code")
        started = replica(
            self.folder,
            kubeconfig=self.release.kubeconfig(self.folder),
            lease_namespace=SYSTEM,
            options=["--alone"],
            environment=code.environment,
            name="old",
            **self.settings,
        )
        with started as operator:
            wait_for(operator.leads, what="the old operator leads", seconds=SECONDS)
            yield
            check(operator)

    def play(self, name: str, scenario: Scenario = UNDISTURBED) -> Journal:
        """Play what is made in the namespace of a job from now on, with drivers of the old version's images."""
        return self.players.enter_context(
            playing(
                self.plane.kubeconfig, namespace=name, scale=SCALE, choose=lambda _: scenario, makes=self.old.artifacts
            )
        )

    def driver(self, name: str, stage: str) -> OldDriver:
        """Return the driver that a stored job left running."""
        return OldDriver(self.api, self.stored[name], stage, self.folder)

    def job(self, name: str) -> Manifest:
        found = self.api.get(JOBS, name, namespace=name)
        assert found, f"{name} is there"
        return found

    def status(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = self.job(name).get("status") or {}
        return status

    def stage(self, name: str, stage: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.status(name)["stages"] if one["name"] == stage)
        return found

    def becomes(self, name: str, phase: str) -> dict[str, Any]:
        """Wait until a job has a phase, and return its status; fails at once where it has failed."""

        def look() -> dict[str, Any] | None:
            status = self.status(name)
            assert phase == "Failed" or status.get("phase") != "Failed", status
            return status if status.get("phase") == phase else None

        try:
            return wait_for(look, what=f"{name} is {phase}", seconds=SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.status(name)}") from error


def check(operator: Replica) -> None:
    """Fail where an operator has met what nobody foresaw.

    That an API server takes up a changed CRD, and refuses a watch meanwhile, is foreseen: kopf says so and tries again.
    """
    bad = [line for line in operator.lines() if line["level"] in ("ERROR", "CRITICAL")]
    unforeseen = [line for line in bad if "storage is (re)initializing" not in line["message"]]
    assert not unforeseen, unforeseen[0]


@contextmanager
def old_cluster(old: StoredRelease, folder: Path) -> Iterator[OldCluster]:
    """Bring a cluster up as a version left it, in which nothing has run since, and down again."""
    plane = ControlPlane(folder / "plane", dies_with_us=True)
    try:
        plane.start_server()
        with Api(plane.kubeconfig) as api, ExitStack() as players, ExitStack() as operator:
            apply_crds(api, [old.crd])
            install_ray_crds(api)
            plane.start_controllers()
            cluster = OldCluster(plane, api, old, folder, players, operator)
            _fill(cluster)
            yield cluster
    finally:
        plane.down()


def _fill(cluster: OldCluster) -> None:
    for name in cluster.old.jobs:
        make_namespace(cluster.api, name)
    make_namespace(cluster.api, TIGHT)
    now = time.time()
    for name in cluster.old.jobs:
        cluster.stored[name] = cluster.old.restore(cluster.plane, name, now=now)
    (crd,) = read_manifests(ROOT / "crds" / "kubedistill.io_distillationjobs.yaml")
    for one in stored_rows(cluster.old.crd, crd).values():
        cluster.api.create(small_job(one.name, **one.spec), namespace=TIGHT, strict=True)
