"""Record what a version stores: `PYTHONPATH=tests python -m support.record_release COMMIT VERSION`.

The commit's own operator and player carry a few jobs on a real API server until each is where its scene wants it. Then
both are killed, and all that they wrote goes to tests/upgrade/VERSION. Takes about ten minutes.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.cluster_setup import (
    OPERATOR,
    OPERATOR_NAMESPACE,
    ROOT,
    account_kubeconfig,
    apply_crds,
    install_ray_crds,
    read_manifests,
)
from support.control_plane import ControlPlane
from support.kube_api import Api, Manifest, Refused, wait_for
from support.old_code import OldCode, check_out, pack_operator
from support.operator_harness import JOBS, make_namespace, small_job
from support.operator_process import replica
from support.stored_release import KINDS, RELEASES, resource_of

SCALE, SECONDS = 0.3, 900.0
SETTINGS: dict[str, Any] = {
    "storage": {"volumeClaim": "shared"},
    "pools": {"gpu": {"nodeSelector": {"kind": "gpu"}, "gpusPerNode": 8, "pricePerGpuHour": 2.5}},
}
SPEC: dict[str, Any] = {
    "teachers": [{"name": "main", "model": {"source": "teacher"}, "resources": {"pool": "gpu"}}],
    "student": {"model": {"source": "student"}, "resources": {"pool": "gpu", "gpusPerWorker": 1}},
    "training": {"epochs": 2},
}
"""Of every job: a part with defaults of the CRD's own is among it, since those are stored too."""


@dataclass(slots=True)
class Scene:
    """One job in a namespace of its own name, whose player may be killed at any moment."""

    plane: ControlPlane
    code: OldCode
    name: str
    api: Api = field(init=False)
    player: "subprocess.Popen[bytes] | None" = None

    def begin(self, **spec: Any) -> None:
        """Create the job and have it played by the scenario that its name begins with."""
        make_namespace(self.api, self.name)
        command = [sys.executable, "-m", "support.fake_kuberay", "--kubeconfig", str(self.plane.kubeconfig)]
        command += ["--namespace", self.name, "--time-scale", str(SCALE)]
        self.player = subprocess.Popen(command, env=self.code.environment, cwd=self.code.folder)
        self.api.create(small_job(self.name, **{**SPEC, **spec}), namespace=self.name)

    def takes(self, **spec: Any) -> bool:
        """Return whether the version's CRD takes such a job."""
        try:
            self.api.create(small_job(self.name, **{**SPEC, **spec}), namespace="default", dry_run=True)
        except Refused:
            return False
        return True

    def patch(self, **parts: Any) -> None:
        self.api.patch(JOBS, self.name, parts, namespace=self.name)

    def annotate(self, verb: str, token: str) -> None:
        self.patch(metadata={"annotations": {f"kubedistill.io/{verb}": token}})

    def shows(self, phase: str) -> None:
        """Wait until the job has a phase."""
        wait_for(lambda: self._status.get("phase") == phase, what=f"{self.name} is {phase}", seconds=SECONDS)

    def works(self, stage: str, *, attempt: int = 1) -> None:
        """Wait until the driver of an attempt has done some work, and the status has it as running."""

        def look() -> bool:
            found = next((one for one in self._status.get("stages", ()) if one["name"] == stage), {})
            if (found.get("state"), found.get("attempt")) != ("Running", attempt):
                return False
            return json.loads(self.channel(found["child"]).get("progress.json", "{}")).get("done", 0) > 0

        wait_for(look, what=f"{self.name} works at {stage} {attempt}", seconds=SECONDS)

    def answers(self, stage: str) -> None:
        """Wait until the driver of a stage has written its result."""
        (child,) = (one["child"] for one in self._status["stages"] if one["name"] == stage)
        wait_for(lambda: "result.json" in self.channel(child), what=f"{self.name} answers", seconds=SECONDS)

    def stop(self) -> None:
        """Kill the player, if it runs: it takes nothing along that way."""
        if self.player is not None:
            self.player.kill()
            self.player.wait()

    def channel(self, child: str) -> dict[str, str]:
        found = self.api.get("v1/ConfigMap", f"{child}-out", namespace=self.name)
        return (found or {}).get("data") or {}

    def objects(self) -> Iterator[Manifest]:
        """Yield all that there is of the job, without what the server keeps for itself."""
        for kind in KINDS:
            root, plural = resource_of(kind)
            for one in self.api.request("get", f"{root}/namespaces/{self.name}/{plural}")["items"]:
                one["metadata"].pop("managedFields", None)
                one["metadata"].pop("resourceVersion")
                if one["metadata"]["name"] not in ("kube-root-ca.crt", "default"):
                    yield {"apiVersion": kind.rpartition("/")[0], "kind": kind.rpartition("/")[2], **one}

    @property
    def _status(self) -> dict[str, Any]:
        return (self.api.get(JOBS, self.name, namespace=self.name) or {}).get("status") or {}


def interrupt_train(scene: Scene) -> None:
    """Cancelled, started again, in its second attempt at Train."""
    scene.begin()
    scene.works("Generate")
    scene.annotate("cancel", "too-early")
    scene.shows("Failed")
    scene.annotate("rerun", "second")
    scene.works("Train", attempt=2)
    scene.stop()


def interrupt_generate(scene: Scene) -> None:
    """Run with labels that an early version accepted and later ones do not."""
    padded = {"task": {"type": "Classification", "labels": ["yes", "no "]}}
    scene.begin(**(padded if scene.takes(**padded) else {}))
    scene.works("Generate")
    scene.stop()


def suspend(scene: Scene) -> None:
    """Suspended while it generated."""
    scene.begin()
    scene.works("Generate")
    scene.patch(spec={"suspend": True})
    scene.shows("Suspended")
    scene.stop()


def queue(scene: Scene) -> None:
    """Held back by Kueue before its first stage."""
    scene.begin(queue={"name": "gpus"})
    scene.shows("Queued")
    scene.stop()


def succeed(scene: Scene) -> None:
    """Over, with the last child still kept."""
    scene.begin()
    scene.shows("Succeeded")
    scene.stop()


SCENES: dict[str, Callable[[Scene], None]] = {
    "raises-carried": interrupt_train,
    "raises-returned": interrupt_train,
    "minutes-padded": interrupt_generate,
    "minutes-suspended": suspend,
    "queued-for-ever-held": queue,
    "ok-over": succeed,
}
"""By the name of the job, which begins with that of its scenario."""
ANSWERED = "minutes-answered"
"""The job whose driver writes a result once the operator is gone."""


def record(commit: str, into: Path) -> None:
    """Run a commit's own code, and write what it stored into a new folder."""
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        code = check_out(commit, folder / "code")
        plane = stack.enter_context(_control_plane(folder / "plane", code))
        names = [*SCENES, ANSWERED]
        scenes = {name: Scene(plane, code, name) for name in names}
        for scene in scenes.values():
            scene.api = stack.enter_context(Api(plane.kubeconfig))
            stack.callback(scene.stop)
        given = {**SETTINGS, "watchNamespaces": names}
        operator = replica(
            folder,
            kubeconfig=folder / "operator.kubeconfig",
            lease_namespace=OPERATOR_NAMESPACE,
            options=["--alone"],
            environment=code.environment,
            **given,
        )
        with operator as leader:
            wait_for(leader.leads, what="the operator leads", seconds=SECONDS)
            with ThreadPoolExecutor(len(SCENES)) as pool:
                for done in [pool.submit(play, scenes[name]) for name, play in SCENES.items()]:
                    done.result()
            scenes[ANSWERED].begin()
            scenes[ANSWERED].works("Generate")
        scenes[ANSWERED].answers("Generate")
        scenes[ANSWERED].stop()
        into.mkdir(parents=True)
        for scene in scenes.values():
            _write(into / f"{scene.name}.yaml", list(scene.objects()))
        _write(into / "crd.yaml", read_manifests(code.folder / "crds" / "kubedistill.io_distillationjobs.yaml"))
        _write(into / "release.yaml", [{"commit": commit, "recordedAt": int(time.time())}])
        pack_operator(commit, into / "operator.tar.xz")
        schema = code.python(
            "import json; from kubedistill.contract import StageJob; print(json.dumps(StageJob.model_json_schema()))"
        )
        (into / "stage-job.schema.json").write_text(json.dumps(json.loads(schema), indent=1) + "\n")
        _record_store(code, folder, into / "store")


@contextlib.contextmanager
def _control_plane(folder: Path, code: OldCode) -> Iterator[ControlPlane]:
    """Yield a control plane with the CRD and the roles of that version, and a kubeconfig of its operator."""
    plane = ControlPlane(folder, dies_with_us=True)
    try:
        plane.start_server()
        with Api(plane.kubeconfig) as api:
            apply_crds(api, read_manifests(code.folder / "crds" / "kubedistill.io_distillationjobs.yaml"))
            install_ray_crds(api)
            plane.start_controllers()
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}})
            for file in sorted((code.folder / "deploy" / "rbac").glob("*.yaml")):
                for manifest in read_manifests(file):
                    api.apply(manifest)
            file = folder.parent / "operator.kubeconfig"
            account_kubeconfig(api, OPERATOR, namespace=OPERATOR_NAMESPACE, file=file)
        yield plane
    finally:
        plane.down()


def _record_store(code: OldCode, folder: Path, into: Path) -> None:
    """Run a small job on this machine, and keep what its store has for people and for a later version: no weights."""
    program = (
        "from pathlib import Path; from support.small_job import make_job; print(make_job(Path(input())).manifest)"
    )
    manifest = code.python(program, text=str(folder / "job")).strip()
    command = [str(Path(sys.executable).with_name("kubedistill")), "run", manifest, "--store", str(folder / "store")]
    subprocess.run(command, env=code.environment, check=True)
    for name in ("report.json", "result.json", "job.json"):
        for file in sorted((folder / "store" / "runs").rglob(name)):
            kept = into / file.relative_to(folder / "store")
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(file.read_bytes())


def _write(file: Path, manifests: list[Any]) -> None:
    file.write_text(yaml.safe_dump_all(manifests, width=120, sort_keys=False), encoding="utf-8")


def main() -> None:
    """Record the commit of the command line under the name of its version."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    commit = subprocess.run(
        ["git", "rev-parse", f"{sys.argv[1]}^{{commit}}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    record(commit, RELEASES / sys.argv[2])


if __name__ == "__main__":
    main()
