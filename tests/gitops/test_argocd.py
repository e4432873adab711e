"""Argo CD's scripts, in Argo CD's interpreter, over every state of a job."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from support.fake_cluster import FakeCluster
from support.job_states import STAGES, STATES, Object, as_object, play
from support.lua_interpreter import Interpreter, ScriptFailed

FOLDER = Path(__file__).parents[2] / "deploy" / "argocd"
HEALTH = (FOLDER / "health.lua").read_text()
ACTIONS = {path.stem: path.read_text() for path in (FOLDER / "actions").iterdir()}
DISCOVERY = ACTIONS.pop("discovery")
RERUN, CANCEL = "kubedistill.io/rerun", "kubedistill.io/cancel"

LIVE, OVER, HELD = {"suspend", "cancel"}, {"rerun"}, {"resume", "cancel"}
# How Argo CD sees a state, a part of what it says, and the actions that it offers.
SEEN: dict[str, tuple[str, str, set[str]]] = {
    "not seen yet": ("Progressing", "waiting for the operator", {"suspend"}),
    "s1 applied": ("Progressing", "Preparing", LIVE),
    "s1 first child made": ("Progressing", "the pods are being created", LIVE),
    "s3 no claim": ("Degraded", "ClaimNotFound: spec.storage.volumeClaim", {"suspend"}),
    "s3 fixed": ("Progressing", "the pods are being created", LIVE),
    "s5 edited during a run": ("Progressing", "(SpecDrift: set a new spec.runID", LIVE),
    "s6 live field edited": ("Progressing", "Generating: 40 of 100 rows", LIVE),
    "s7 superseding": ("Progressing", "Training", LIVE),
    "s7 superseded": ("Progressing", "Pending", {"suspend"}),
    "s8 a used runID": ("Healthy", "SpecDrift: this runID was used before", OVER),
    "s9 run again": ("Progressing", "the pods are being created", LIVE),
    "s10 cancelling": ("Progressing", "asked to save and stop", LIVE),
    "s10 cancelled": ("Degraded", "Cancelled: ", OVER),
    "w1 in a queue": ("Progressing", "Pending: waiting in the queue", LIVE),
    "w2 another job makes the same": ("Progressing", "SharedArtifact: team/older", LIVE),
    "w3 busy namespace": ("Progressing", "NamespaceBusy", LIVE),
    "w9 on hold": ("Progressing", "OnHold: settings.onRestore", {"suspend"}),
    "w4 no node": ("Progressing", "pod p: because", LIVE),
    "w4 no node for the first stage": ("Progressing", "pod p: because", LIVE),
    "w5 image": ("Progressing", "ImagePull: pod p: because", LIVE),
    "w5 image for too long": ("Degraded", "ImagePull: ", OVER),
    "w6 secret": ("Progressing", "SecretNotFound", LIVE),
    "w12 KubeRay away": ("Progressing", "KubeRayAbsent: RayJob quickstart-generate-", LIVE),
    "w7 quota": ("Progressing", "QuotaExceeded: exceeded quota: team", LIVE),
    "a1 Prepare running": ("Progressing", "Preparing: 40 of 100", LIVE),
    "a1 Generate running": ("Progressing", "Generating: 40 of 100", LIVE),
    "a1 Curate running": ("Progressing", "Curating: 40 of 100", LIVE),
    "a1 Train running": ("Progressing", "Training: 40 of 100", LIVE),
    "a1 Evaluate running": ("Progressing", "Evaluating: 40 of 100", LIVE),
    "a1 Export running": ("Progressing", "Exporting: 40 of 100", LIVE),
    "a1 succeeded": ("Healthy", "Exported: ", OVER),
    "a1 succeeded and edited": ("Healthy", "Exported: ", OVER),
    "a1 an edit that was not seen": ("Progressing", "the latest edit has not been seen yet", OVER),
    "a3 a user's mistake": ("Degraded", "InvalidData: train.jsonl:7", OVER),
    "a4 the gate failed": ("Degraded", "EvaluationGate: gain 0.01 is below minGain 0.1", OVER),
    "a6 between two attempts": ("Progressing", "Training: ", LIVE),
    "a17 deadline": ("Degraded", "DeadlineExceeded", OVER),
    "p1 suspending": ("Progressing", "asked to save and stop", HELD),
    "p1 suspended": ("Suspended", "spec.suspend is true", HELD),
    "p1 suspended from the start": ("Suspended", "spec.suspend is true", HELD),
    "p1 suspended and edited": ("Suspended", "spec.suspend is true", HELD),
    "p1 suspended and cancelled": ("Degraded", "Cancelled: ", OVER),
    "p2 resumed": ("Progressing", "", LIVE),
    "p12 budget spent": ("Suspended", "BudgetSpent: 2.01 GPU-hours", LIVE),
    "p3 held by a finalizer": ("Progressing", "Deleted: nothing of it runs", set()),
}


@pytest.mark.parametrize("state", STATES)
def test_health_is_that_of_the_state(state: str, argo: Interpreter, states: dict[str, Object]) -> None:
    status, says, _ = SEEN[state]
    health = argo.run(HEALTH, states[state])
    assert health["status"] == status
    assert says in health["message"]


@pytest.mark.parametrize("state", STATES)
def test_only_possible_actions_are_offered(state: str, argo: Interpreter, states: dict[str, Object]) -> None:
    offered = argo.run(DISCOVERY, states[state])
    assert {name for name, action in offered.items() if not action["disabled"]} == SEEN[state][2]
    assert set(offered) == set(ACTIONS)


def test_the_table_has_every_state() -> None:
    assert SEEN.keys() == STATES.keys()


def test_a_run_that_succeeds_is_progressing_at_every_step_before(argo: Interpreter) -> None:
    cluster, seen = FakeCluster(), list[str]()
    for _ in STAGES:
        cluster.settle()
        name = cluster.live
        for happens in (cluster.run_child, cluster.result, cluster.end_child):
            happens(name)
            while cluster.step().status is not None:
                seen.append(argo.run(HEALTH, as_object(cluster))["status"])
    assert len(seen) > 2 * len(STAGES)
    assert seen == ["Progressing"] * (len(seen) - 1) + ["Healthy"]


STRANGE: dict[str, tuple[Any, str]] = {
    "no conditions": ({"observedGeneration": 1}, "Progressing"),
    "an empty status": ({}, "Progressing"),
    "conditions that say no": (
        {"observedGeneration": 1, "conditions": [{"type": kind, "status": "False", "reason": "No"}
                                                 for kind in ("Suspended", "Failed", "Complete", "Stalled")]},
        "Progressing",
    ),
    "a condition of a later version": (
        {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Yes"}]}, "Progressing",
    ),
    "a condition without words": (
        {"observedGeneration": 1, "conditions": [{"type": "Failed", "status": "True", "reason": "Lost"}]}, "Degraded",
    ),
    "a generation ahead": ({"observedGeneration": 2, "phase": "Training"}, "Progressing"),
}  # fmt: skip


@pytest.mark.parametrize("case", STRANGE)
def test_a_status_by_another_hand_is_read_as_well(case: str, argo: Interpreter) -> None:
    status, expected = STRANGE[case]
    one = as_object(FakeCluster()) | {"status": status}
    health = argo.run(HEALTH, one)
    assert health["status"] == expected
    assert isinstance(health["message"], str)
    assert set(argo.run(DISCOVERY, one)) == set(ACTIONS)


# An action, a state in which it is offered, and what it changes; a token is a time of now.
EFFECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "suspend": ("a1 Train running", {"spec": {"suspend": True}}),
    "resume": ("p1 suspended", {"spec": {"suspend": False}}),
    "rerun": ("a1 succeeded", {"metadata": {"annotations": {RERUN: "TOKEN"}}}),
    "cancel": ("a1 Train running", {"metadata": {"annotations": {CANCEL: "TOKEN"}}}),
}


@pytest.mark.parametrize("action", EFFECTS)
def test_an_action_changes_one_field_and_nothing_else(
    action: str, argo: Interpreter, states: dict[str, Object]
) -> None:
    state, patch = EFFECTS[action]
    assert action in SEEN[state][2]
    before = states[state]
    after = restored(argo.run(ACTIONS[action], before), before)
    assert with_tokens(difference(before, after)) == patch


def test_no_annotations_are_needed_and_others_are_kept(argo: Interpreter, states: dict[str, Object]) -> None:
    one = copy.deepcopy(states["a1 succeeded"])
    del one["metadata"]["annotations"]
    assert RERUN in argo.run(ACTIONS["rerun"], one)["metadata"]["annotations"]
    one["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "a:b/c:d/e", CANCEL: "old"}
    after = argo.run(ACTIONS["rerun"], one)["metadata"]["annotations"]
    assert set(after) == {"argocd.argoproj.io/tracking-id", RERUN}, "a cancellation of the past is not one of this run"


@pytest.mark.parametrize("action", ["rerun", "cancel"])
def test_a_token_reads_as_a_time_and_names_a_run(action: str, argo: Interpreter, states: dict[str, Object]) -> None:
    annotations = argo.run(ACTIONS[action], states["a1 succeeded"])["metadata"]["annotations"]
    assert re.fullmatch(r"20\d{6}t\d{6}z", annotations[f"kubedistill.io/{action}"])


def test_each_action_of_argo_cd_takes_effect(argo: Interpreter) -> None:
    cluster = play("a1 succeeded")
    cluster.annotations |= argo.run(ACTIONS["rerun"], as_object(cluster))["metadata"]["annotations"]
    cluster.settle()
    assert cluster.status.run is not None
    assert cluster.status.run.id == f"rerun-{cluster.annotations[RERUN]}"
    cluster.annotations |= argo.run(ACTIONS["cancel"], as_object(cluster))["metadata"]["annotations"]
    cluster.settle()
    cluster.now += 61
    cluster.settle()
    for name in list(cluster.pods):
        cluster.end_child(name)
    cluster.settle()
    assert argo.run(HEALTH, as_object(cluster))["message"].startswith("Cancelled")


@pytest.mark.parametrize("name", ["string", "math", "io", "coroutine", "debug", "os"])
def test_the_interpreter_has_no_library_that_argo_cd_does_not_open(name: str, argo: Interpreter) -> None:
    assert argo.run(f"return type({name})", {}) == "nil"


def test_a_script_sees_time_and_date_of_os_alone(argo: Interpreter) -> None:
    names = 'local names = {} for name in pairs(require("os")) do table.insert(names, name) end return names'
    assert sorted(argo.run(names, {})) == ["date", "time"]


@pytest.mark.parametrize("script", ["return obj.a.b", "while true do end", "return return"])
def test_a_script_that_fails_is_not_an_answer(script: str, argo: Interpreter) -> None:
    with pytest.raises(ScriptFailed):
        argo.run(script, {"kind": "X"})


# The rows of docs/argocd.md, and states that are such.
PAGE = {
    "not seen by the operator yet": ["not seen yet"],
    "can't start: Validated=False": ["s3 no claim"],
    "started, without a child yet": ["s1 applied", "s7 superseded"],
    "running, or between two attempts": ["a1 Train running", "a6 between two attempts", "p1 suspending", "p2 resumed"],
    "in a queue, or waiting for nodes, images, secrets, quota": [
        "w1 in a queue", "w2 another job makes the same", "w4 no node", "w5 image", "w6 secret", "w7 quota",
    ],
    "edited, and the operator has not seen it yet": ["a1 an edit that was not seen"],
    "suspended": ["p1 suspended", "p1 suspended from the start", "p12 budget spent"],
    "succeeded": ["a1 succeeded", "s8 a used runID"],
    "failed or cancelled": ["s10 cancelled", "a4 the gate failed", "p1 suspended and cancelled"],
}  # fmt: skip


def test_the_page_says_what_others_see(argo: Interpreter, states: dict[str, Object]) -> None:
    page = (FOLDER.parents[1] / "docs" / "argocd.md").read_text()
    told = re.findall(r"^\| (.+?) \| (\w+) \| (Current|InProgress|Failed) \|$", page, re.MULTILINE)
    assert [row[0] for row in told] == list(PAGE)
    for row, seen, kstatus in told:
        for state in PAGE[row]:
            assert (argo.run(HEALTH, states[state])["status"], argo.kstatus(states[state])) == (seen, kstatus), state


def restored(after: Any, before: Any) -> Any:
    """As Argo CD does: an empty table that was a mapping before is one again; Lua can't tell it from a list."""
    if isinstance(before, dict) and after == []:
        return before
    if isinstance(before, dict) and isinstance(after, dict):
        return {name: restored(value, before.get(name)) for name, value in after.items()}
    if isinstance(before, list) and isinstance(after, list):
        return [restored(new, old) for new, old in zip(after, before, strict=True)]
    return after


def difference(before: Any, after: Any) -> dict[str, Any]:
    """Return the merge patch that Argo CD sends."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            patch |= {name: inner} if (inner := difference(old, value)) else {}
        elif value != old:
            patch[name] = value
    return patch


def with_tokens(patch: dict[str, Any]) -> dict[str, Any]:
    annotations = patch.get("metadata", {}).get("annotations", {})
    return patch | ({"metadata": {"annotations": dict.fromkeys(annotations, "TOKEN")}} if annotations else {})
