"""Every scenario, played on a real API server, leaves what it promises: a state, a reason, starts and a result."""

import json
from typing import Any

import pytest

from support.fake_kuberay.scenarios import SCENARIOS
from support.kube_api import wait_for

OK, APP_FAILED, SILENT = (("Complete", "SUCCEEDED"), None), (("Failed", "FAILED"), "AppFailed"), (
    ("Failed", "RUNNING"), "JobStatusCheckTimeoutExceeded",
)  # fmt: skip
WAITS, RUNS, HELD = (("Initializing", ""), None), (("Running", "RUNNING"), None), (("Suspended", ""), None)
FINISHED, BROKEN = {"Complete": "CompletionsReached", "SuccessCriteriaMet": "CompletionsReached"}, {
    "Failed": "BackoffLimitExceeded", "FailureTarget": "BackoffLimitExceeded",
}  # fmt: skip
TABLE: dict[str, tuple[str, Any, str, str]] = {
    # stage, (state, reason) of a RayJob or the conditions of a Job, starts, outcome
    "ok": ("Generate", OK, "1", "Succeeded"),
    "queued": ("Generate", OK, "1", "Succeeded"),
    "queued-for-ever": ("Generate", HELD, "0", ""),
    "unschedulable": ("Generate", WAITS, "0", ""),
    "scale-up": ("Generate", OK, "1", "Succeeded"),
    "no-image": ("Generate", WAITS, "0", ""),
    "no-image-cpu": ("Prepare", {}, "0", ""),
    "no-secret": ("Generate", WAITS, "0", ""),
    "kuberay-late": ("Generate", OK, "1", "Succeeded"),
    "no-quota": ("Generate", WAITS, "0", ""),
    "slow": ("Train", RUNS, "1", ""),
    "minutes": ("Train", OK, "1", "Succeeded"),
    "deaf": ("Generate", RUNS, "1", ""),
    "silent": ("Generate", RUNS, "1", ""),
    "clock-behind": ("Generate", OK, "1", "Succeeded"),
    "clock-ahead-silent": ("Generate", RUNS, "1", ""),
    "never-starts": ("Generate", (("Running", "PENDING"), None), "0", ""),
    "lingering": ("Curate", FINISHED, "1", "Succeeded"),
    "cluster-gone": ("Generate", OK, "1", "Succeeded"),
    "user-error": ("Prepare", BROKEN, "1", "Failed"),
    "gate-failed": ("Evaluate", OK, "1", "Succeeded"),
    "invalid": ("Generate", (("ValidationFailed", ""), "ValidationFailed"), "0", ""),
    "raises": ("Train", APP_FAILED, "1", "Failed"),
    "always-raises": ("Train", APP_FAILED, "1", "Failed"),
    "crashes": ("Train", APP_FAILED, "1", ""),
    "oom-driver": ("Curate", BROKEN, "1", ""),
    "oom-sidecar": ("Curate", {}, "1", ""),
    "sidecar": ("Curate", {}, "1", "Succeeded"),
    "native-sidecar": ("Curate", {}, "1", "Succeeded"),
    "oom-worker": ("Train", APP_FAILED, "1", ""),
    "dashboard-dies": ("Generate", SILENT, "1", ""),
    "hub-down": ("Prepare", BROKEN, "1", "Failed"),
    "pod-rejected": ("Curate", BROKEN, "0", ""),
    "endpoint-down": ("Generate", APP_FAILED, "1", "Failed"),
    "vanishes": ("Train", (("", ""), None), "1", ""),
    "no-result": ("Generate", OK, "1", ""),
    "stopped-complete": ("Generate", (("Complete", "STOPPED"), None), "1", ""),
    "deadline-running": ("Generate", (("Failed", "RUNNING"), "DeadlineExceeded"), "1", ""),
    "submitter-dies": ("Generate", (("Failed", "RUNNING"), "SubmissionFailed"), "1", ""),
    "submitter-hangs": (
        "Generate", (("Complete", "SUCCEEDED"), "JobDeploymentStatusTransitionGracePeriodExceeded"), "1", "Succeeded",
    ),
    "artifact-missing": ("Train", APP_FAILED, "1", "Failed"),
    "artifact-gone-twice": ("Train", APP_FAILED, "1", "Failed"),
    "head-lost": ("Generate", OK, "2", "Succeeded"),
    "head-lost-traced": ("Generate", OK, "2", "Succeeded"),
    "oom-head": ("Train", OK, "2", "Succeeded"),
    "zombie": ("Generate", APP_FAILED, "1", ""),
    "node-lost": ("Train", SILENT, "1", ""),
    "node-gone": ("Train", SILENT, "1", ""),
    "preempted": ("Generate", APP_FAILED, "1", ""),
    "spot-reclaimed": ("Train", APP_FAILED, "1", ""),
    "kueue-evicts": ("Generate", HELD, "1", ""),
    "kueue-readmits": ("Generate", OK, "2", "Succeeded"),
    "result-truncated": ("Curate", FINISHED, "1", "?"),
    "result-huge": ("Curate", FINISHED, "1", "?"),
    "result-hostile": ("Curate", FINISHED, "1", "?"),
    "result-newer": ("Curate", FINISHED, "1", "?"),
    "progress-malformed": ("Generate", OK, "1", "Succeeded"),
}  # fmt: skip


def test_every_scenario_is_played_here() -> None:
    assert set(TABLE) == set(SCENARIOS)


@pytest.mark.parametrize("name", TABLE)
def test_scenario(workplace: Any, name: str) -> None:
    stage, end, starts, outcome = TABLE[name]
    mode = {"submissionMode": "K8sJobMode"} if name.startswith("submitter") else {}
    child = workplace.child(name, stage=stage, queue=name.startswith(("queued", "kueue")), **mode)
    wait_for(lambda: _seen(child) == (end, starts, outcome), what=f"{name} ends as {TABLE[name]}, not {_seen(child)}")


def _seen(child: Any) -> tuple[Any, str, str]:
    end = (child.state, child.status.get("reason")) if child.kind == "RayJob" else child.conditions
    return end, child.channel["starts"], _outcome(child.channel.get("result.json", ""))


def _outcome(result: str) -> str:
    """Return what a result says; ? for what no reader of the contract may take for one."""
    try:
        values = json.loads(result or "{}")
    except ValueError:
        return "?"
    known = isinstance(values, dict) and values.get("outcome", "") in ("", "Succeeded", "Failed", "Stopped")
    return values.get("outcome", "") if known else "?"
