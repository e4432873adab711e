"""Mistakes that only the operator can see: each is reported with field and fix, costs little, and can be fixed.

Rows S2, S3 and W4 to W6 of docs/behavior.md. What the API server itself refuses is in test_crd.
"""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fake_kuberay.background import playing
from support.fake_kuberay.scenarios import OK, Scenario, choose, step
from support.kube_api import Api, wait_for
from support.operator_harness import CLAIMS, JOBS, OperatorHarness, claim, open_harness
from support.small_manifests import config_map

SHOWN_SECONDS, LOOKED_AGAIN_SECONDS = 30, 60
OPEN = {"gpu": {"nodeSelector": {"kind": "gpu"}}}
CLOSED = {"theirs": {"nodeSelector": {"kind": "theirs"}, "allowedNamespaces": ["another-team"]}}


def on_pool(pool: str) -> dict[str, Any]:
    return {"student": {"model": {"source": "student"}, "resources": {"pool": pool}}}


def on_claim(name: str, job: str) -> dict[str, Any]:
    return {"storage": {"volumeClaim": name, "uri": f"file:///kubedistill/storage/{job}"}}


# Name: what is wrong with it, the reason, the field, the fix.
WRONG: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "ok-unknown-pool": (on_pool("gpus"), "UnknownPool", "spec.student.resources.pool", "gpu"),
    "ok-closed-pool": (on_pool("theirs"), "PoolNotAllowed", "spec.student.resources.pool", "namespace"),
    "ok-own-disk": (on_claim("disk", "own-disk"), "StorageNotShared", "spec.storage.volumeClaim", "ReadWriteMany"),
    "ok-no-disk": (on_claim("none", "no-disk"), "ClaimNotFound", "spec.storage.volumeClaim", "create it"),
    "ok-no-data": (
        {"data": {"train": {"configMapKeyRef": {"name": "prompts", "key": "train.jsonl"}}}},
        "ConfigMapNotFound",
        "spec.data.train.configMapKeyRef.name",
        "create it",
    ),
}


ON_THEIR_OWN = ("kuberay-late-1", "sidecar-1", "native-sidecar-1", "oom-sidecar-1")


def fix_later(job: str) -> Scenario:
    """`fixed-…`: a Secret is missing for a while, and is there after that."""
    if not job.startswith("fixed-"):
        return choose(job)
    missing = step("Hamper", state="Waiting", reason="CreateContainerConfigError", message='secret "hub" not found')
    return Scenario(job, "W6", {("Generate", 0): (missing, step("Schedule", after=150), *OK)})


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    folder, name = tmp_path_factory.mktemp("operator"), f"test-{secrets.token_hex(4)}"
    with (
        open_harness(api, operator_kubeconfig, folder, name, pools=OPEN | CLOSED) as harness,
        playing(kubeconfig, namespace=name, scale=0.02, choose=fix_later),
    ):
        api.create(claim("disk", mode="ReadWriteOnce"), namespace=name)
        yield harness


@pytest.fixture(scope="module")
def wrong(harness: OperatorHarness) -> dict[str, str]:
    """Submit every job of the table, and return what each says once it was looked at."""
    for name, (spec, _, _, _) in WRONG.items():
        harness.submit(name, **spec)
    return {name: harness.shows(name, "Validated", reason=reason) for name, (_, reason, _, _) in WRONG.items()}


@pytest.fixture(scope="module")
def on_their_own(harness: OperatorHarness) -> None:
    """Jobs that take a while, for which nobody has to wait."""
    for name in ON_THEIR_OWN:
        harness.submit(name)


@pytest.mark.parametrize("name", WRONG)
def test_s2_s3_a_job_that_cannot_start_names_field_and_fix(
    harness: OperatorHarness, wrong: dict[str, str], name: str
) -> None:
    _, reason, field, fix = WRONG[name]
    assert field in wrong[name]
    assert fix in wrong[name]
    assert harness.phase(name) == "Pending"
    assert harness.status(name)["message"].startswith(f"{reason}: ")
    assert harness.tells(name, "ValidationFailed") == ["ValidationFailed"]
    assert harness.made(job=name) == []


def test_s2_s3_a_job_that_waits_for_a_fix_is_checked_once_a_minute_and_not_written(
    harness: OperatorHarness, wrong: dict[str, str]
) -> None:
    before = {name: (harness.job(name) or {})["metadata"]["resourceVersion"] for name in wrong}
    asked, looked = harness.counted("rest_client_requests_total"), harness.counted("controller_runtime_reconcile_total")
    looks, began = len(wrong) + 2, time.monotonic()
    wait_for(
        lambda: harness.counted("controller_runtime_reconcile_total") >= looked + looks,
        what="one of the jobs is looked at twice",
        seconds=3 * LOOKED_AGAIN_SECONDS,
    )
    assert time.monotonic() - began > LOOKED_AGAIN_SECONDS / 2
    assert harness.counted("rest_client_requests_total") - asked <= 8 * looks
    assert {name: (harness.job(name) or {})["metadata"]["resourceVersion"] for name in wrong} == before
    assert harness.counted("controller_runtime_reconcile_errors_total") == 0


@pytest.mark.usefixtures("wrong", "on_their_own")
def test_s2_s3_each_job_starts_once_its_cause_is_fixed(harness: OperatorHarness) -> None:
    where = harness.namespaces[0]
    harness.api.patch(JOBS, "ok-unknown-pool", {"spec": on_pool("gpu")}, namespace=where)
    harness.becomes("ok-unknown-pool", "Preparing", "Generating", "Succeeded", seconds=SHOWN_SECONDS)
    harness.api.create(claim("none"), namespace=where)
    harness.api.delete(CLAIMS, "disk", namespace=where)
    wait_for(lambda: harness.api.get(CLAIMS, "disk", namespace=where) is None, what="the claim is gone")
    harness.api.create(claim("disk"), namespace=where)
    harness.api.create(config_map("prompts", **{"train.jsonl": ""}), namespace=where)
    for name in ("ok-no-disk", "ok-own-disk", "ok-no-data"):
        harness.becomes(name, "Preparing", "Generating", "Succeeded", seconds=LOOKED_AGAIN_SECONDS + SHOWN_SECONDS)
    harness.stop()
    harness.start(pools=OPEN | {"theirs": {"nodeSelector": {"kind": "theirs"}, "allowedNamespaces": [where]}})
    harness.becomes("ok-closed-pool", "Preparing", "Generating", "Succeeded", seconds=SHOWN_SECONDS)
    for name in WRONG:
        harness.becomes(name, "Succeeded")
        assert harness.condition(name, "Validated") == ("True", "Valid", "")


def test_w2_of_jobs_of_the_same_work_one_makes_each_artifact(harness: OperatorHarness) -> None:
    """Applied at once to one store: they wait for one another, look again, and skip what is there."""
    names = [f"ok-twin-{number}" for number in range(3)]
    for name in names:
        harness.submit(name, storage={"volumeClaim": "shared", "uri": "file:///kubedistill/storage/twins"})
    for name in names:
        harness.becomes(name, "Succeeded")
    for stage in ("Generate", "Curate", "Train", "Evaluate", "Export"):
        states = sorted(harness.stage(name, stage)["state"] for name in names)
        assert states == ["Skipped", "Skipped", "Succeeded"], stage
    charged = [harness.stage(name, stage).get("restarts") or {} for name in names for stage in ("Prepare", "Train")]
    assert not any(sum(one.values()) for one in charged)


def test_w9_a_job_without_status_is_held_until_annotated_and_running_jobs_continue(harness: OperatorHarness) -> None:
    """A job that the API server has as a backup left it; a running one is not one of those."""
    where = harness.namespaces[0]
    harness.submit("fixed-2")
    harness.becomes("fixed-2", "Preparing", "Generating")
    harness.stop()
    harness.submit("ok-restored")
    harness.start(onRestore="Hold")
    assert "kubedistill.io/release" in harness.shows("ok-restored", "QuotaReserved", reason="OnHold")
    assert harness.phase("ok-restored") == "Pending"
    harness.becomes("fixed-2", "Succeeded")
    assert (harness.tells("ok-restored", "Held"), harness.made(job="ok-restored")) == (["Held"], [])
    harness.api.patch(
        JOBS, "ok-restored", {"metadata": {"annotations": {"kubedistill.io/release": "yes"}}}, namespace=where
    )
    harness.becomes("ok-restored", "Succeeded")
    harness.stop()
    harness.start(onRestore="Run")


# Name of a scenario: the stage that waits, the reason, what the message names.
WAITS = {
    "no-secret": ("Generate", "SecretNotFound", 'secret "hub" not found'),
    "no-image": ("Generate", "ImagePull", '"no:such"'),
    "no-image-cpu": ("Prepare", "ImagePull", '"no:such"'),
    "unschedulable": ("Generate", "WaitingForNodes", "Insufficient nvidia.com/gpu"),
}


@pytest.mark.parametrize("scenario", WAITS)
def test_w4_w5_w6_why_a_pod_waits_is_shown_within_30_seconds_and_not_charged(
    harness: OperatorHarness, scenario: str
) -> None:
    stage, reason, named = WAITS[scenario]
    name = f"{scenario}-1"
    harness.submit(name)
    wait_for(lambda: any(map(is_waiting, harness.made(kinds=["v1/Pod"], job=name))), what="its pod waits", seconds=120)
    message = harness.shows(name, "Progressing", reason=reason, seconds=SHOWN_SECONDS)
    assert named in message
    assert harness.stage(name, stage)["reason"] == reason
    harness.tells(name, "Waiting")
    assert sum((harness.stage(name, stage).get("restarts") or {}).values()) == 0
    harness.api.delete(JOBS, name, namespace=harness.namespaces[0])


def is_waiting(pod: dict[str, Any]) -> bool:
    """Return whether a pod's kubelet or scheduler says that it cannot start."""
    status = pod.get("status") or {}
    waits = [one for one in status.get("containerStatuses") or () if "waiting" in (one.get("state") or {})]
    unbound = [one for one in status.get("conditions") or () if one.get("reason") == "Unschedulable"]
    return bool(waits or unbound)


def test_w6_a_job_continues_when_its_secret_is_there(harness: OperatorHarness) -> None:
    harness.submit("fixed-1")
    harness.shows("fixed-1", "Progressing", reason="SecretNotFound")
    harness.becomes("fixed-1", "Succeeded")
    generate = harness.stage("fixed-1", "Generate")
    assert (generate["attempt"], sum((generate.get("restarts") or {}).values())) == (1, 0)


def restarts(harness: OperatorHarness, name: str, stage: str) -> int:
    return sum((harness.stage(name, stage).get("restarts") or {}).values())


@pytest.mark.usefixtures("on_their_own")
def test_w12_kuberay_that_is_away_is_named_and_costs_nothing(harness: OperatorHarness) -> None:
    harness.becomes("kuberay-late-1", "Succeeded")
    told = [one for one in harness.api.list("v1/Event", namespace=harness.namespaces[0]) if one["reason"] == "Waiting"]
    said = [one["message"] for one in told if one["involvedObject"]["name"] == "kuberay-late-1"]
    assert [message.partition(":")[0] for message in said] == ["KubeRayAbsent"] * 3, "once for each Ray cluster"
    assert [restarts(harness, "kuberay-late-1", stage) for stage in ("Generate", "Train", "Evaluate")] == [0, 0, 0]


@pytest.mark.usefixtures("on_their_own")
@pytest.mark.parametrize("name", ["sidecar-1", "native-sidecar-1"])
def test_a19_a_sidecar_that_does_not_end_keeps_no_stage_waiting(harness: OperatorHarness, name: str) -> None:
    harness.becomes(name, "Succeeded")
    assert [restarts(harness, name, stage) for stage in ("Prepare", "Curate", "Export")] == [0, 0, 0]
    wait_for(lambda: not harness.made(kinds=["batch/v1/Job"], job=name), what="its Jobs are gone, each at once")


@pytest.mark.usefixtures("on_their_own")
def test_a19_a_driver_that_runs_out_of_memory_next_to_a_sidecar_is_seen_at_once(harness: OperatorHarness) -> None:
    harness.becomes("oom-sidecar-1", "Succeeded")
    curate = harness.stage("oom-sidecar-1", "Curate")
    assert (curate["attempt"], curate["restarts"]["failure"]) == (2, 1)
    assert harness.tells("oom-sidecar-1", "AttemptFailed").count("AttemptFailed") == 1
