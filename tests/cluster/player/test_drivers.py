"""Drivers in script mode keep the contract: one owner, and a request to stop that is obeyed."""

from typing import Any

import pytest

from kubedistill.contract import StageProgress, StageResult
from support.kube_api import JSON_PATCH, wait_for


def stop(child: Any) -> None:
    child.api.patch("v1/ConfigMap", f"{child.name}-out", {"data": {"stop": "true"}}, namespace=child.namespace)


@pytest.mark.parametrize("stage", ["Train", "Curate"])
def test_a_driver_that_is_asked_to_stop_saves_and_leaves(workplace: Any, stage: str) -> None:
    child = workplace.child("slow-1", stage=stage)
    wait_for(lambda: "progress.json" in child.channel, what="it works")
    stop(child)
    wait_for(lambda: child.result.get("outcome") == "Stopped", what="it has stopped")
    assert StageProgress.model_validate_json(child.channel["progress.json"]).state == "Stopping"
    wait_for(lambda: child.state == ("Failed", "FAILED") or "Failed" in child.conditions, what="its child has ended")


def test_a_deaf_driver_does_not(workplace: Any) -> None:
    child = workplace.child("deaf-1")
    wait_for(lambda: "progress.json" in child.channel, what="it works")
    stop(child)
    workplace.child("ok-1").becomes(("Complete", "SUCCEEDED"))
    assert child.state == ("Running", "RUNNING")
    assert "result.json" not in child.channel


def test_the_second_driver_of_an_attempt_locks_the_first_out(workplace: Any) -> None:
    child = workplace.child("head-lost-1")
    child.becomes(("Complete", "SUCCEEDED"))
    first, second = workplace.journal.of("DriverStarted", child=child.name)
    (lost,) = workplace.journal.of("ClaimLost", child=child.name)
    assert (lost["driver"], lost["exitCode"]) == (first["driver"], 75)
    assert child.channel["owner"] == f"{child.name}:{second['driver']}"
    assert child.result["driver"] == second["driver"]


def test_a_driver_whose_token_is_not_the_owners_claims_nothing(workplace: Any) -> None:
    child = workplace.child("scale-up-1")
    somebody = [{"op": "replace", "path": "/data/owner", "value": "another-token"}]
    child.api.patch("v1/ConfigMap", f"{child.name}-out", somebody, namespace=child.namespace, content_type=JSON_PATCH)
    wait_for(lambda: workplace.journal.of("ClaimLost", child=child.name), what="its claim is refused")
    child.becomes(("Complete", "SUCCEEDED"))
    assert (child.channel["starts"], "result.json" in child.channel) == ("0", False)


def test_a_zombie_writes_to_its_own_old_attempt_and_nowhere_else(workplace: Any) -> None:
    old = workplace.child("zombie-1")
    old.becomes(("Failed", "FAILED"))
    old.delete()
    new = workplace.child("zombie-1", attempt=2)
    new.becomes(("Complete", "SUCCEEDED"))
    wait_for(lambda: old.result.get("outcome") == "Succeeded", what="the old driver speaks once more")
    assert new.result["driver"] != old.result["driver"]
    assert new.channel["owner"] == f"{new.name}:{new.result['driver']}"


def test_prepare_names_all_artifacts_and_what_the_store_holds_of_them(workplace: Any) -> None:
    first = workplace.child("ok-2", stage="Prepare")
    wait_for(lambda: first.result, what="Prepare has a result")
    workplace.child("ok-2").becomes(("Complete", "SUCCEEDED"))
    assert {name for name, one in first.result["artifacts"].items() if one["complete"]} == {"rows"}
    second = workplace.child("ok-2", stage="Prepare", attempt=2)
    wait_for(lambda: second.result, what="the second Prepare has a result")
    result = StageResult.model_validate(second.result)
    assert {name for name, one in result.artifacts.items() if one.complete} == {"rows", "answers", "judge"}


def test_messages_of_drivers_fit_the_contract(workplace: Any) -> None:
    child = workplace.child("ok-3")
    child.becomes(("Complete", "SUCCEEDED"))
    assert StageResult.model_validate_json(child.channel["result.json"]).outcome == "Succeeded"
    assert StageProgress.model_validate_json(child.channel["progress.json"]).done == 4
