"""The quickstart in a cluster: its manifest applied, the operator with its own rights, drivers that do the work.

It runs once, on a slice of its records, and every test looks at another side of it. `make demo-cluster` runs the whole.
"""

import contextlib
import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from kubedistill.contract import StageJob, StageProgress, StageResult
from kubedistill.report.models import Report
from support.cluster_setup import OPERATOR_NAMESPACE
from support.fake_kuberay.background import playing
from support.kube_api import Api, wait_for
from support.kubectl import CLAIM, QUICKSTART, Kubectl, fill_claim, has_kubectl
from support.messages import check_facts
from support.operator_process import Replica, replica

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2700)]

JOBS = "kubedistill.io/v1alpha1/DistillationJob"
ROWS = {"train": 64, "validation": 16, "test": 24}
FACTS: dict[str, tuple[object, ...]] = {
    "Prepare": (104, "CachedLogits"), "Generate": (104, 0), "Curate": (64,), "Train": ("steps",), "Evaluate": ("gate",),
    "Export": ("Safetensors",),
}  # fmt: skip
"""What the message of each stage names."""
ARTIFACTS = {"rows", "answers", "judge", "dataset", "samples", "student", "report", "export"}
SECONDS = 2400
"""Long enough for a machine that does much else."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The quickstart in a namespace: who works on it, and where its pods keep what they make."""

    api: Api
    namespace: str
    manifest: Path
    claim: Path
    operator: Replica
    kubectl: Kubectl | None
    """None on a machine without: then the API server is asked directly, which shows all but kubectl's own words."""

    @property
    def job(self) -> dict[str, Any]:
        return self.api.get(JOBS, "quickstart", namespace=self.namespace) or {}

    @property
    def status(self) -> dict[str, Any]:
        return self.job.get("status") or {}

    @property
    def run_folder(self) -> Path:
        return self.claim / "runs" / f"{self.namespace}.quickstart" / "1"

    def apply(self, file: Path) -> None:
        if self.kubectl is not None:
            self.kubectl("apply", "-f", str(file))
        else:
            self.api.apply(yaml.safe_load(file.read_text(encoding="utf-8")), namespace=self.namespace)

    def wait(self) -> None:
        phase = wait_for(self._ending, what=f"it has ended, its messages are in {self.run_folder}", seconds=SECONDS)
        assert phase == "Succeeded", self.status
        if self.kubectl is not None:
            self.kubectl("wait", "--for=condition=Complete", "dj/quickstart", "--timeout=10s")

    def _ending(self) -> str:
        phase = self.status.get("phase", "")
        return phase if phase in ("Succeeded", "Failed") else ""

    def row(self) -> dict[str, Any]:
        """Return what `kubectl get dj -o wide` prints, by column."""
        path = f"/apis/kubedistill.io/v1alpha1/namespaces/{self.namespace}/distillationjobs/quickstart"
        table = self.api.request("get", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
        columns = [column["name"] for column in table["columnDefinitions"]]
        return dict(zip(columns, table["rows"][0]["cells"], strict=True))

    def events(self) -> list[dict[str, Any]]:
        found = self.api.list("v1/Event", namespace=self.namespace)
        return [one for one in found if one["involvedObject"]["name"] == "quickstart"]


def condition(status: dict[str, Any], kind: str) -> str:
    return next((one["status"] for one in status.get("conditions", ()) if one["type"] == kind), "")


def sliced(folder: Path) -> Path:
    """Return the quickstart's manifest.

    With so few records the gate asks for nothing but that the student was judged.
    """
    job = yaml.safe_load((QUICKSTART / "job.yaml").read_text(encoding="utf-8"))
    job["spec"]["evaluation"] = {"gate": {"requireSignificance": False}}
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(job), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def own_namespace(api: Api) -> Iterator[str]:
    name = f"test-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    wait_for(lambda: api.get("v1/ServiceAccount", "default", namespace=name), what="the namespace has its account")
    yield name
    api.delete("v1/Namespace", name)


@pytest.fixture(scope="module")
def applied(
    api: Api,
    kubeconfig: Path,
    operator_kubeconfig: Path,
    own_namespace: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Applied]:
    """Yield the job after it was applied and has succeeded."""
    folder = tmp_path_factory.mktemp("quickstart")
    claim = fill_claim(folder / "claim", rows=ROWS)
    settings = yaml.safe_load((QUICKSTART / "cluster" / "values.yaml").read_text(encoding="utf-8"))["settings"]
    kubectl = Kubectl(kubeconfig, own_namespace, folder / "kubectl") if has_kubectl() else None
    with (
        replica(
            folder,
            kubeconfig=operator_kubeconfig,
            lease_namespace=OPERATOR_NAMESPACE,
            options=["--alone"],
            watchNamespaces=[own_namespace],
            **settings,
        ) as operator,
        playing(kubeconfig, namespace=own_namespace, scale=0.05, folder=folder / "pods", claims={CLAIM: claim}),
    ):
        harness = Applied(api, own_namespace, sliced(folder), claim, operator, kubectl)
        harness.apply(QUICKSTART / "cluster" / "claim.yaml")
        harness.apply(harness.manifest)
        harness.wait()
        yield harness
    assert not alive_in(folder), "nothing of a pod outlives it"


def alive_in(folder: Path) -> list[str]:
    """Return what runs in the pods of a player."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it ended while we looked
            if process.environ().get("HOME", "").startswith(f"{folder}/"):
                found.append(" ".join(process.cmdline()))
    return found


def test_its_status_says_what_each_stage_made(applied: Applied) -> None:
    status = applied.status
    assert status["phase"] == "Succeeded"
    for kind in ("Complete", "DataGenerated", "Evaluated", "StudentTrained", "Validated"):
        assert condition(status, kind) == "True", kind
    assert [stage["name"] for stage in status["stages"]] == list(FACTS)
    for stage in status["stages"]:
        assert (stage["state"], stage["attempt"], stage["percent"], stage["starts"]) == ("Succeeded", 1, 100, 1)
        assert stage["gpuSeconds"] == 0, "no GPU was held"
        check_facts(stage["message"], *FACTS[stage["name"]])
    artifacts = {one["name"]: one for one in status["run"]["artifacts"]}
    assert artifacts.keys() == ARTIFACTS
    for name, one in artifacts.items():
        assert one["complete"], name
        assert one["uri"] == (applied.claim / "artifacts" / name / one["key"]).as_uri()


def test_its_result_is_that_of_its_report(applied: Applied) -> None:
    report = Report.model_validate_json((applied.run_folder / "report.json").read_bytes())
    result = applied.status["result"]
    arms, compared = report.arms, report.comparison
    assert result["teacherAccuracy"] == pytest.approx(arms.teacher.accuracy, abs=1e-6)
    assert result["baselineAccuracy"] == pytest.approx(arms.baseline.accuracy, abs=1e-6)
    assert result["distilledAccuracy"] == pytest.approx(arms.distilled.accuracy, abs=1e-6)
    assert result["gain"] == pytest.approx(compared.gain, abs=1e-6)
    assert result["retention"] == pytest.approx(compared.retention, abs=1e-6)
    assert result["gatePassed"] is report.gate.passed is True


def test_it_is_a_row_that_reads_well(applied: Applied) -> None:
    row = applied.row()
    assert {name: row[name] for name in ("PHASE", "TEACHER", "STUDENT", "GPU-HOURS")} == {
        "PHASE": "Succeeded",
        "TEACHER": "teacher",
        "STUDENT": "student",
        "GPU-HOURS": "0.0",
    }
    assert not any(row[name] for name in ("STAGE", "PROGRESS", "ATTEMPT", "QUEUE", "ETA")), "nothing is running"
    told = r"accuracy went from [\d.]+% to [\d.]+% \(teacher [\d.]+%\); the student is exported"
    assert re.fullmatch(told, row["MESSAGE"])


def test_its_events_report_each_step_and_no_warning(applied: Applied) -> None:
    reasons = [event["reason"] for event in applied.events()]
    for reason in ("StageStarted", "StageSucceeded"):
        assert reasons.count(reason) == len(FACTS), reason
    running = [event["message"].split()[0] for event in applied.events() if event["reason"] == "StageRunning"]
    assert {"Generate", "Train", "Evaluate"} <= set(running), "a short stage may be over before anybody looks"
    assert len(running) == len(set(running))
    assert sorted(set(reasons)) == ["RunStarted", "RunSucceeded", "StageRunning", "StageStarted", "StageSucceeded"]
    assert {event["type"] for event in applied.events()} == {"Normal"}
    ends = [event["message"] for event in applied.events() if event["reason"] == "StageSucceeded"]
    (generated,) = [message for message in ends if message.startswith("Generate attempt 1: ")]
    check_facts(generated, *FACTS["Generate"])


def test_its_metrics_count_it(applied: Applied) -> None:
    series = applied.operator.metrics()
    own = {"namespace": applied.namespace, "name": "quickstart"}
    kind = {"namespace": applied.namespace, "strategy": "CachedLogits"}

    def value(metric: str, **labels: str) -> float:
        return series[metric, tuple(sorted(labels.items()))]

    assert value("distillation_job_status_phase", **own, phase="Succeeded") == 1
    assert value("distillation_job_status_phase", **own, phase="Failed") == 0
    assert value("distillation_job_progress_ratio", **own) == 1
    assert value("distillation_job_gpu_seconds_total", **own) == 0
    assert value("distillation_job_restarts_total", **own, cause="failure") == 0
    assert value("distillation_jobs_finished_total", **kind, result="Succeeded") == 1
    for stage in FACTS:
        ended = {**kind, "stage": stage, "result": "Succeeded"}
        assert value("distillation_job_stage_duration_seconds_count", **ended) == 1
        assert value("distillation_job_stage_duration_seconds_sum", **ended) > 0


def test_its_folder_keeps_job_progress_and_result_of_every_stage(applied: Applied) -> None:
    job = applied.job
    for stage in FACTS:
        folder = applied.run_folder / f"{stage.lower()}-1"
        told = StageJob.model_validate_json((folder / "job.json").read_bytes())
        assert (told.stage, told.job.uid) == (stage, job["metadata"]["uid"])
        result = StageResult.model_validate_json((folder / "result.json").read_bytes())
        assert result.outcome == "Succeeded"
        assert StageProgress.model_validate_json((folder / "progress.json").read_bytes()).at < result.ended_at
        lines = [json.loads(line) for line in (folder / "driver.log").read_text().splitlines()]
        messages = [line["message"] for line in lines]
        assert (messages[:2], messages[-1]) == (["driver started", "stage started"], "stage ended")
    assert all((applied.run_folder / f"report.{form}").stat().st_size > 100 for form in ("json", "md", "html"))


def test_applied_again_unchanged_it_stays_as_it_is(applied: Applied) -> None:
    version = applied.job["metadata"]["resourceVersion"]
    applied.apply(applied.manifest)
    assert applied.job["metadata"]["resourceVersion"] == version


def test_two_jobs_of_the_same_work_make_each_artifact_once(applied: Applied, tmp_path: Path) -> None:
    """Applied at once, with a training that nobody has done: each stage is one job's, and the other skips it."""
    job = yaml.safe_load(applied.manifest.read_text(encoding="utf-8"))
    job["spec"]["training"] = {**job["spec"].get("training", {}), "seed": 7}
    twins = ("twin-1", "twin-2")
    for name in twins:
        applied.api.create({**job, "metadata": {"name": name}}, namespace=applied.namespace)
    published: dict[Path, dict[str, tuple[str, int]]] = {}

    def look() -> list[dict[str, Any]]:
        """Return the jobs' statuses once both are over; what is complete is looked at when it first is."""
        for manifest in applied.claim.glob("artifacts/*/[!.]*/manifest.json"):  # a draft is not an artifact
            published.setdefault(manifest.parent, files_in(manifest.parent))
        found = [applied.api.get(JOBS, name, namespace=applied.namespace) or {} for name in twins]
        statuses = [one.get("status") or {} for one in found]
        return statuses if all(one.get("phase") in ("Succeeded", "Failed") for one in statuses) else []

    statuses = wait_for(look, what="both are over", seconds=SECONDS)
    assert [one["phase"] for one in statuses] == ["Succeeded", "Succeeded"], statuses
    states = [{stage["name"]: stage["state"] for stage in one["stages"]} for one in statuses]
    for stage in ("Generate", "Curate"):
        assert [one[stage] for one in states] == ["Skipped", "Skipped"], stage
    for stage in ("Train", "Evaluate", "Export"):
        assert sorted(one[stage] for one in states) == ["Skipped", "Succeeded"], stage
    assert statuses[0]["result"] == statuses[1]["result"]
    assert len(list(applied.claim.glob("artifacts/student/*"))) == 2, "the quickstart's, and the one of both"
    assert {folder: files_in(folder) for folder in published} == published


def files_in(folder: Path) -> dict[str, tuple[str, int]]:
    """Return digest and inode of each file of an artifact, except for unfinished and claim files."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_ino)
        for path in folder.rglob("*")
        if not path.name.startswith(".tmp-") and path.is_file() and not {"claims", "steps"} & {*path.parts}
    }


def test_the_pod_that_carries_files_into_the_claim_is_one(applied: Applied) -> None:
    pod = yaml.safe_load((QUICKSTART / "cluster" / "files.yaml").read_text(encoding="utf-8"))
    applied.api.create(pod, namespace=applied.namespace, dry_run=True, strict=True)
