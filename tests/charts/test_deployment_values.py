"""What the values of the operator's Deployment do: how it is rolled out, probed, placed and spread."""

from typing import Any

import pytest

from support.chart_sets import Render, of_kind, only, operator_container

STRATEGIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as it is": ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
    "recreated": ({"type": "Recreate"}, {"type": "Recreate"}),
    "other steps": (
        {"rollingUpdate": {"maxUnavailable": 1}},
        {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}},
    ),
    "the type left to the server": ({"type": None}, {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
}


@pytest.mark.parametrize("case", STRATEGIES)
def test_steps_of_a_rolling_update_belong_to_no_other_strategy(case: str, render: Render) -> None:
    values, strategy = STRATEGIES[case]
    assert only(render(strategy=values), "Deployment")["spec"]["strategy"] == strategy


@pytest.mark.parametrize("limit", [0, 3])
def test_revisions_are_kept_for_an_undo(limit: int, render: Render) -> None:
    assert only(render(), "Deployment")["spec"]["revisionHistoryLimit"] == 10
    assert only(render(revisionHistoryLimit=limit), "Deployment")["spec"]["revisionHistoryLimit"] == limit


@pytest.mark.parametrize(("seconds", "written"), [(0, None), (60, 60)])
def test_a_replica_must_stay_ready_unless_that_is_turned_off(seconds: int, written: int | None, render: Render) -> None:
    assert only(render(), "Deployment")["spec"]["minReadySeconds"] == 15
    assert only(render(minReadySeconds=seconds), "Deployment")["spec"].get("minReadySeconds") == written


PROBES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "as it is": ({}, {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}),
    "a delay": (
        {"initialDelaySeconds": 7, "failureThreshold": 6},
        {"initialDelaySeconds": 7, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    ),
    "all others": (
        {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1},
        {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBES)
def test_of_a_probe_only_a_delay_of_0_is_left_out(case: str, render: Render) -> None:
    values, written = PROBES[case]
    probe = {"httpGet": {"path": "/readyz", "port": "http"}, **written}
    assert operator_container(render(readinessProbe=values))["readinessProbe"] == probe
    at_once = operator_container(render(livenessProbe__initialDelaySeconds=0))
    assert "initialDelaySeconds" not in at_once["livenessProbe"]


def test_large_numbers_are_whole_numbers(render: Render) -> None:
    found = render(terminationGracePeriodSeconds=1_000_000, revisionHistoryLimit=2_000_000)
    spec = only(found, "Deployment")["spec"]
    assert repr(spec["template"]["spec"]["terminationGracePeriodSeconds"]) == "1000000"
    assert repr(spec["revisionHistoryLimit"]) == "2000000"


def test_labels_of_nodes_are_added_to_linux_and_may_replace_it(render: Render) -> None:
    def selectors(**labels: str | None) -> list[dict[str, str]]:
        found = render(nodeSelector=labels)
        return [
            only(found, "Deployment")["spec"]["template"]["spec"]["nodeSelector"],
            only(found, "Pod")["spec"]["nodeSelector"],
        ]

    assert selectors() == [{"kubernetes.io/os": "linux"}] * 2
    assert selectors(pool="system") == [{"kubernetes.io/os": "linux", "pool": "system"}] * 2
    assert selectors(**{"kubernetes.io/os": None, "pool": "system"}) == [{"pool": "system"}] * 2


@pytest.mark.parametrize(("replicas", "budgets"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_a_budget_never_blocks_the_drain_of_a_single_replica(replicas: int, budgets: int, render: Render) -> None:
    found = render(replicas=replicas, podDisruptionBudget__enabled=True)
    assert len(of_kind(found, "PodDisruptionBudget")) == budgets
    assert only(found, "Deployment")["spec"]["replicas"] == replicas


def test_replicas_are_spread_over_nodes(render: Render) -> None:
    deployment = only(render(replicas=2), "Deployment")["spec"]
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"] == deployment["selector"]
    mine = {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"a": "b"}}
    deployment = only(render(topologySpreadConstraints=[mine]), "Deployment")["spec"]
    assert deployment["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "zone"
