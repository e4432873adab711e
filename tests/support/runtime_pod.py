"""A pod of the runtime-cpu image: its base stage, with this clone's environment and code in it at their own paths."""

import re
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from kubedistill.canonical import digest
from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract import JobRef, RunRef, StageJob, StageResult
from support.config_map_server import NAME, serve_config_map
from support.image_root import ImageRoot
from support.small_job import MARK, QUICKSTART, alive, make_job

ROOT = Path(__file__).parents[2]
ENVIRONMENT = Path(sys.prefix).resolve()
_PYTHON = Path(sys.base_prefix).resolve()
_STORE, _DATA, _JOB = "/kubedistill/storage", "/kubedistill/data", "/kubedistill/job"
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_JOB_UID = "small-uid"
_SECONDS = 1200


@dataclass(frozen=True, slots=True)
class RuntimePod:
    """Runs stages of the small job, one after another; `folder` is scratch of the machine's."""

    base: ImageRoot
    environment: Path
    credentials: Path
    folder: Path

    @property
    def store(self) -> Path:
        """The claim, as the machine sees it."""
        return self.folder / "store"

    def run(
        self, stage: StageName, *, user: str, groups: Sequence[int] = (), keys: Mapping[ArtifactName, str] | None = None
    ) -> tuple[StageResult, str]:
        """Run a stage to its end, in a run of its user's; (result, output)."""
        uid = user.partition(":")[0]
        token = f"{uid}-{stage.lower()}"
        mounted = self.folder / token
        mark = f"{token}-{secrets.token_hex(8)}"
        (mounted / "job").mkdir(parents=True)
        # Without a cluster's Ray the driver starts one, and keeps a note of it next to job.json.
        shutil.chown(mounted / "job", int(uid))
        (mounted / "job" / "job.json").write_text(self._job(stage, run=uid, token=token, keys=keys or {}).to_json())
        data = {"owner": token, "starts": "0"}
        with serve_config_map(self.credentials, mounted / "account", data, owner=_JOB_UID) as server:
            driver = [f"{ENVIRONMENT}/bin/python", "-m", "kubedistill_runtime", "--job", f"{_JOB}/job.json"]
            try:
                _, output = self.base.run(
                    driver,
                    user=user,
                    groups=groups,
                    environment=self._variables(server.port) | {MARK: mark},
                    mounts=self._mounts() | {_ACCOUNT: server.account},
                    writable={_STORE: self.store, _JOB: mounted / "job"},
                    seconds=_SECONDS,
                )
            finally:
                _end_all(mark)
            assert "result.json" in server.data, output[-4000:]
            return StageResult.model_validate_json(server.data["result.json"]), output

    def _job(self, stage: StageName, *, run: str, token: str, keys: Mapping[ArtifactName, str]) -> StageJob:
        spec = make_job(self.folder / "data").spec
        spec["training"]["epochs"] = 2
        return StageJob(
            job=JobRef(namespace="team", name="small", uid=_JOB_UID),
            run=RunRef(id=run, digest=digest(spec)),
            stage=stage,
            attempt=1,
            token=token,
            frozen_spec=spec,
            store=f"file://{_STORE}/small",
            data_root=f"file://{_DATA}",
            artifacts=dict(keys),
            date="2026-11-27",
        )

    def _variables(self, port: int) -> dict[str, str]:
        """Return the environment of the image, of the kubelet and of the operator's pod template."""
        image = image_environment()
        return image | {
            "PATH": f"{ENVIRONMENT}/bin:{image['PATH']}",
            "PYTHONPATH": f"{ROOT}/api:{ROOT}/runtime",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(port),
            "KUBEDISTILL_CHANNEL": NAME,
        }

    def _mounts(self) -> dict[str, Path | None]:
        own = (ROOT / "api", ROOT / "runtime", QUICKSTART, *([] if Path("/usr") == _PYTHON else [_PYTHON]))
        return {"/tmp": None, str(ENVIRONMENT): self.environment, _DATA: self.folder / "data"} | {
            str(path): path for path in own
        }


def image_environment() -> dict[str, str]:
    """Return the variables that the Dockerfile gives the runtime-cpu image."""
    _, _, stage = (ROOT / "Dockerfile").read_text().partition(" AS runtime-cpu\n")
    found = re.search(r"^ENV ((?:.*\\\n)*.*)$", stage, flags=re.MULTILINE)
    assert found is not None
    return dict(word.split("=", 1) for word in found[1].replace("\\\n", " ").split())


def make_store(folder: Path, *, group: int, mode: int) -> None:
    """A claim's folder, of root."""
    folder.mkdir()
    shutil.chown(folder, 0, group)
    folder.chmod(mode)


def _end_all(mark: str) -> None:
    """End the processes that carry a mark: Ray's outlive the one that started them."""
    found = alive(mark)
    for process in found:
        process.kill()
    psutil.wait_procs(found, timeout=10)
