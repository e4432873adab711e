"""The files that say what objects each attempt gets: a change of any of them is seen, read and wanted."""

import pytest
import yaml

from kubedistill.chain import STAGES
from kubedistill.contract import StageJob
from kubedistill_operator.children.attempt import build_children
from support.child_scenarios import COMMAND, GOLDEN, SCENARIOS, render, request_of, templates


@pytest.mark.parametrize("name", SCENARIOS)
def test_file_says_what_is_built(name: str) -> None:
    assert (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8") == render(name), f"run {COMMAND}"


def test_no_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(SCENARIOS)


def test_every_stage_has_a_file() -> None:
    assert {scenario.stage for scenario in SCENARIOS.values()} == set(STAGES)


@pytest.mark.parametrize("name", SCENARIOS)
def test_driver_finds_the_very_job_that_was_asked_for(name: str) -> None:
    request = request_of(name)
    objects = {(one["kind"], one["metadata"]["name"]): one for one in build_children(request)}
    driver = templates(objects[request.kind, request.name])["driver"]["spec"]
    (volume,) = [one for one in driver["volumes"] if one["name"] == "job"]
    job = objects["ConfigMap", volume["configMap"]["name"]]
    assert job["immutable"] is True
    assert StageJob.model_validate_json(job["data"]["job.json"]) == request.stage_job
    (mount,) = [one for one in driver["containers"][0]["volumeMounts"] if one["name"] == "job"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/kubedistill/job", True)


@pytest.mark.parametrize("name", SCENARIOS)
def test_driver_can_write_its_channel_and_nothing_else(name: str) -> None:
    request = request_of(name)
    objects = {one["kind"]: one for one in build_children(request)}
    channel = next(one for one in build_children(request) if "owner" in one.get("data", {}))
    driver = templates(objects[request.kind])["driver"]["spec"]
    variables = {one["name"]: one["value"] for one in driver["containers"][0]["env"]}
    assert variables["KUBEDISTILL_CHANNEL"] == channel["metadata"]["name"] == f"{request.name}-out"
    assert channel["data"] == {"owner": request.stage_job.token, "starts": "0"}
    assert objects["Role"]["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [f"{request.name}-out"],
            "verbs": ["get", "patch"],
        }
    ]
    assert objects["RoleBinding"]["roleRef"]["name"] == objects["Role"]["metadata"]["name"]
    assert objects["RoleBinding"]["subjects"] == [
        {"kind": "ServiceAccount", "name": driver["serviceAccountName"], "namespace": "team-a"}
    ]
    assert driver["automountServiceAccountToken"] is True


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_loader_reads_the_same_from_a_file(name: str) -> None:
    text = (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")
    assert not [token for token in yaml.scan(text) if isinstance(token, yaml.AnchorToken | yaml.AliasToken)]
