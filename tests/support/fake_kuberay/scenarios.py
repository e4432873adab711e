"""Scenarios as data: what happens to the children of a job, step by step, in seconds of the player's clock.

A job plays the scenario whose name its own name begins with, the longest one if there are several (`head-lost-7` plays
`head-lost`), and the player's default otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from support.fake_kuberay.child import Child

Do = Literal[
    "Schedule", "Hamper", "Run", "RefusePods", "KillDriver", "KillWorker", "EvictPod", "RejectPod", "LoseNode",
    "TaintNode", "SilenceDashboard", "EndSubmitter", "Edit", "Vanish", "Hold", "Admit", "Evict", "Claim", "Progress",
    "Result", "Write", "Exit",
]  # fmt: skip
When = Literal["", "Placed", "Submitted", "Working", "StopAsked", "Suspended", "Deleted", "Gone"]
ANY = "*"
OF_DRIVERS: tuple[Do, ...] = ("Claim", "Progress", "Result", "Write", "Exit")
"""What a driver does: steps of script mode alone. In real mode a driver does as it likes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens: once something holds, so many seconds after that."""

    do: Do
    after: float = 0.0
    when: When = ""
    values: Mapping[str, Any] = field(default_factory=dict)


Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """The steps of each child by stage and attempt; 0 is every attempt that has no steps of its own."""

    name: str
    row: str
    """The rows of docs/behavior.md that it is for."""
    plays: Mapping[tuple[str, int], Steps] = field(default_factory=dict)
    linger: float = 0.5
    """Seconds that a deleted pod takes to end."""
    deaf: bool = False
    """Whether drivers ignore `stop`."""
    sidecar: Literal["", "Container", "Native"] = ""
    """What a webhook puts into the pods of Jobs that does not end by itself: a container, or an init container."""
    kuberay_away: float = 0.0
    """Seconds for which KubeRay does not look at a new RayJob."""

    def steps_of(self, child: Child) -> Steps:
        """Return what is played for a child."""
        for key in ((child.stage, child.attempt), (child.stage, 0), (ANY, child.attempt), (ANY, 0)):
            if key in self.plays:
                return self.plays[key]
        return OK


def step(do: Do, *, after: float = 0.0, when: When = "", **values: Any) -> Step:
    """Return a step with its values."""
    return Step(do, after, when, values)


def choose(job: str, *, default: str = "ok") -> Scenario:
    """Return the scenario of a DistillationJob by its name."""
    fitting = [name for name in SCENARIOS if job == name or job.startswith(f"{name}-")]
    return SCENARIOS[max(fitting, key=len, default=default)]


def _on(stage: str, attempt: int, *steps: Step) -> Mapping[tuple[str, int], Steps]:
    return {(stage, attempt): steps}


def _midway(do: Do, **values: Any) -> Step:
    return step(do, when="Working", after=1, **values)


def _progress(done: int, *, after: float = 2) -> Step:
    return step("Progress", after=after, done=done, total=4)


def _reports(skew: float) -> Steps:
    """Return reports of a driver whose clock is so many seconds ahead."""
    return tuple(step("Progress", after=40, done=done, total=4, skew=skew) for done in (1, 2, 4))


def _exit(code: int, *, after: float = 0, **values: Any) -> Step:
    return step("Exit", after=after, code=code, **values)


def _hamper(reason: str, message: str) -> Step:
    return step("Hamper", after=1, state="Waiting", reason=reason, message=message)


def _failure(cause: str, reason: str, message: str) -> Steps:
    result = step("Result", after=1, outcome="Failed", cause=cause, reason=reason, message=message)
    return (*WORKING, result, _exit(1))


def _malformed(text: str) -> Mapping[tuple[str, int], Steps]:
    return _on("Curate", 1, *WORKING, step("Write", after=1, name="result.json", text=text), _exit(0))


UP: Steps = (step("Schedule", after=0.5), step("Run", after=1))
START: Steps = (*UP, step("Claim", when="Submitted", after=1), step("Progress", after=0.5, done=0, total=0))
WORKING: Steps = (*START, _progress(1))
END: Steps = (step("Result", after=1, outcome="Succeeded"), _exit(0))
OK: Steps = (*WORKING, _progress(2), _progress(4), *END)
_OWN_NODE = step("Schedule", node="own")
_QUEUED: Steps = (step("Hold"), step("Admit", when="Suspended", after=5))
_EVICTED: Steps = (*WORKING, _midway("Evict", reason="Preempted"))
_AGAIN = step("Claim", when="Submitted", after=1)
_SECOND: Steps = (step("Progress", driver=1, done=2, total=4), _progress(3), *END)
"""The first driver of an attempt finds a second one in its way, which does the rest."""
_NO_GPU = step("Hamper", state="Unschedulable", message="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
_REJECT = step(
    "RejectPod", when="Placed", after=1, reason="UnexpectedAdmissionError", message="Allocate failed, no free device"
)
_RAISED = _failure("failure", "UserCodeError", "ValueError: no such optimizer")
_MISSING = _failure("none", "ArtifactMissing", "the judge artifact is gone")
_BAD_GATE = {
    "teacherAccuracy": 0.9, "baselineAccuracy": 0.5, "distilledAccuracy": 0.55, "retention": 0.61, "gain": 0.05,
    "gate": {"passed": False, "reasons": ["gain 0.05 is below minGain 0.1"]},
}  # fmt: skip
_HOSTILE = '{"contract": 1, "driver": {"$ref": "../../other"}, "outcome": "Succeeded\\u0000"}'

_STARTING = (
    Scenario("ok", "S1, A1"),
    Scenario("queued", "W1", _on(ANY, 0, step("Hold"), step("Admit", when="Suspended", after=30), *OK)),
    Scenario("queued-for-ever", "W1", _on(ANY, 0, step("Hold"))),
    Scenario("unschedulable", "W4", _on("Generate", 0, _NO_GPU)),
    Scenario("scale-up", "W4", _on("Generate", 0, _NO_GPU, step("Schedule", after=60), *OK)),
    Scenario("no-image", "W5", _on("Generate", 0, _hamper("ImagePullBackOff", 'Back-off pulling image "no:such"'))),
    Scenario("no-image-cpu", "W5", _on("Prepare", 0, _hamper("ErrImagePull", 'failed to pull image "no:such"'))),
    Scenario("no-secret", "W6", _on("Generate", 0, _hamper("CreateContainerConfigError", 'secret "hub" not found'))),
    Scenario("kuberay-late", "W12", kuberay_away=1000),
    Scenario("no-quota", "W7", _on("Generate", 0, step("RefusePods", message="forbidden: exceeded quota: team"))),
)
_RUNNING = (
    Scenario("slow", "P1, S7, S10", _on(ANY, 0, *START, *(_progress(n % 4 + 1, after=60) for n in range(600)))),
    Scenario("minutes", "A1", _on(ANY, 0, *START, *(_progress(n, after=30) for n in range(1, 5)), *END)),
    Scenario("deaf", "P1", _on("Generate", 0, *START, *(_progress(1, after=60) for _ in range(600))), deaf=True),
    Scenario("silent", "A8", _on("Generate", 1, *WORKING)),
    Scenario("clock-behind", "A8", _on("Generate", 0, *START, *_reports(-3600), *END)),
    Scenario("clock-ahead-silent", "A8", _on("Generate", 1, *START, *_reports(3600))),
    Scenario("never-starts", "A8", _on("Generate", 1, *UP)),
    Scenario("lingering", "A1, S7, P1", linger=60),
    Scenario("cluster-gone", "A1", linger=0),
)
_ENDING = (
    Scenario("user-error", "A3", _on("Prepare", 0, *_failure("user", "InvalidData", "train.jsonl:3: no prompt"))),
    Scenario(
        "gate-failed",
        "A4",
        _on("Evaluate", 0, *START, step("Result", outcome="Succeeded", summary=_BAD_GATE), _exit(0)),
    ),
    Scenario("invalid", "A5", _on("Generate", 0, step("Edit", spec={"ttlSecondsAfterFinished": -5}), *OK)),
    Scenario("raises", "A6", _on("Train", 1, *_RAISED)),
    Scenario("always-raises", "A6, A16", _on("Train", 0, *_RAISED)),
    Scenario("crashes", "A6, A14", _on("Train", 1, *WORKING, _exit(1, after=1))),
    Scenario("oom-driver", "A7", _on("Curate", 1, *WORKING, _midway("KillDriver", reason="OOMKilled"))),
    Scenario(
        "oom-sidecar",
        "A7, A19",
        _on("Curate", 1, *WORKING, _midway("KillDriver", reason="OOMKilled")),
        sidecar="Container",
    ),
    Scenario("sidecar", "A19", sidecar="Container"),
    Scenario("native-sidecar", "A19", sidecar="Native"),
    Scenario("oom-worker", "A7", _on("Train", 1, *WORKING, _midway("KillWorker", reason="OOMKilled"), _exit(1))),
    Scenario("dashboard-dies", "A9, A14", _on("Generate", 1, *WORKING, _midway("SilenceDashboard"))),
    Scenario("hub-down", "A21", _on("Prepare", 1, *_failure("infrastructure", "HubUnavailable", "no answer"))),
    Scenario("pod-rejected", "A20", _on("Curate", 1, step("Schedule", after=0.5), _REJECT)),
    Scenario(
        "endpoint-down", "A22", _on("Generate", 1, *_failure("infrastructure", "EndpointUnavailable", "no answer"))
    ),
    Scenario("vanishes", "A11", _on("Train", 1, *WORKING, _midway("Vanish"))),
    Scenario("no-result", "A14", _on("Generate", 1, *WORKING, _progress(4), _exit(0, after=1))),
    Scenario("stopped-complete", "A14", _on("Generate", 1, *WORKING, step("Exit", after=1, status="STOPPED"))),
    Scenario(
        "deadline-running", "A14", _on("Generate", 1, *WORKING, _midway("Edit", spec={"activeDeadlineSeconds": 1}))
    ),
    Scenario("submitter-dies", "A14", _on("Generate", 1, *WORKING, _midway("EndSubmitter", how="Failed"))),
    Scenario("submitter-hangs", "A1", _on("Generate", 1, *WORKING, _midway("EndSubmitter", how="Hangs"), *END)),
    Scenario("artifact-missing", "A15", _on("Train", 1, *_MISSING)),
    Scenario("artifact-gone-twice", "A15", _on("Train", 0, *_MISSING)),
)
_RESTARTING = (
    Scenario("head-lost", "A10", _on("Generate", 1, *WORKING, _midway("KillDriver", replace=True), _AGAIN, *_SECOND)),
    Scenario(
        "head-lost-traced", "A10",
        _on(
            "Generate", 1, *WORKING, step("KillDriver", when="Working", after=5, pending=True),
            step("Claim", when="Submitted", after=20), *_SECOND,
        ),
    ),
    Scenario("oom-head", "A10", _on("Train", 1, *WORKING, _midway("KillDriver", reason="OOMKilled"), _AGAIN, *_SECOND)),
    Scenario(
        "zombie", "A2",
        _on(
            "Generate", 1, *WORKING, _exit(1, after=1), step("Progress", when="Deleted", after=5, done=2, total=4),
            step("Result", outcome="Succeeded"),
        ),
        linger=20,  # a token is good for as long as its pod is there
    ),
)  # fmt: skip
_TAKEN_AWAY = (
    Scenario("node-lost", "A12", _on("Train", 1, _OWN_NODE, *WORKING, _midway("LoseNode"))),
    Scenario("node-gone", "A12", _on("Train", 1, _OWN_NODE, *WORKING, _midway("LoseNode", vanish=True))),
    Scenario(
        "preempted", "A13",
        _on(
            "Generate", 1, *WORKING,
            _midway("EvictPod", reason="PreemptionByScheduler", message="a higher priority came"),
            _exit(1),
        ),
    ),
    Scenario(
        "spot-reclaimed", "A13",
        _on(
            "Train", 1, _OWN_NODE, *WORKING,
            _midway("TaintNode", key="cloud.google.com/impending-node-termination"),
            _midway("EvictPod", reason="TerminationByKubelet", message="the node is shutting down"),
            _exit(1),
        ),
    ),
    Scenario("kueue-evicts", "A13", {("Generate", 1): (*_QUEUED, *_EVICTED), ("Generate", 2): (*_QUEUED, *OK)}),
    Scenario(
        "kueue-readmits", "A13",
        _on(
            "Generate", 1, *_QUEUED, *_EVICTED, step("Admit", when="Suspended", after=0.1),
            _AGAIN, *END,
        ),
    ),
)  # fmt: skip
_MISWRITTEN = (
    Scenario("result-truncated", "A14", _malformed('{"contract": 1, "driver"')),
    Scenario("result-huge", "A14", _malformed("9" * 20_000)),
    Scenario("result-hostile", "A14", _malformed(_HOSTILE)),
    Scenario("result-newer", "A14", _malformed('{"contract": 99, "outcome": "Glorious"}')),
    Scenario(
        "progress-malformed", "A1",
        _on("Generate", 1, *WORKING, step("Write", name="progress.json", text="{\\"), _progress(4), *END),
    ),
)  # fmt: skip
SCENARIOS: dict[str, Scenario] = {
    one.name: one for one in (*_STARTING, *_RUNNING, *_ENDING, *_RESTARTING, *_TAKEN_AWAY, *_MISWRITTEN)
}
