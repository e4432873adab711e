"""What the player's KubeRay refuses, rule by rule."""

import copy
from typing import Any

import pytest

from support.fake_kuberay.kuberay import Look, Seen, next_event
from support.fake_kuberay.validation import RULES, find_fault

TEMPLATE = {"spec": {"containers": [{"name": "ray", "image": "ray"}]}}
GROUP = {"groupName": "gpus", "replicas": 1, "minReplicas": 1, "maxReplicas": 1, "template": TEMPLATE}
VALID: dict[str, Any] = {
    "metadata": {"name": "job-generate-abcde", "namespace": "default"},
    "spec": {
        "submissionMode": "HTTPMode", "shutdownAfterJobFinishes": True, "backoffLimit": 0, "ttlSecondsAfterFinished": 5,
        "rayClusterSpec": {
            "rayVersion": "2.60.0", "authOptions": {"mode": "token"},
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": TEMPLATE}, "workerGroupSpecs": [GROUP],
        },
    },
}  # fmt: skip
SELECTED = {"clusterSelector": {"ray.io/cluster": "mine"}, "rayClusterSpec": None}
TABLE: list[tuple[str, dict[str, Any]]] = [
    ("metadata.name is longer than 47", {"metadata": {"name": "a" * 48}}),
    ("metadata.name is not a DNS-1035 label", {"metadata": {"name": "7-dwarfs"}}),
    ("suspend needs shutdownAfterJobFinishes", {"spec": {"suspend": True, "shutdownAfterJobFinishes": False}}),
    ("ttlSecondsAfterFinished is negative", {"spec": {"ttlSecondsAfterFinished": -5}}),
    ("ttlSecondsAfterFinished needs shutdownAfterJobFinishes", {"spec": {"shutdownAfterJobFinishes": False}}),
    ("deletionRules exclude shutdownAfterJobFinishes", {"spec": {"deletionStrategy": {"deletionRules": [{}]}}}),
    ("suspend excludes clusterSelector", {"spec": {**SELECTED, "suspend": True}}),
    ("rayClusterSpec or clusterSelector is needed", {"spec": {"rayClusterSpec": None}}),
    ("clusterSelector needs the key ray.io/cluster", {"spec": {**SELECTED, "clusterSelector": {"app": "ray"}}}),
    ("clusterSelector excludes SidecarMode", {"spec": {**SELECTED, "submissionMode": "SidecarMode"}}),
    ("backoffLimit excludes clusterSelector", {"spec": {**SELECTED, "backoffLimit": 2}}),
    ("backoffLimit excludes InteractiveMode", {"spec": {"submissionMode": "InteractiveMode", "backoffLimit": 1}}),
    (
        "SidecarMode excludes submitterPodTemplate and submitterConfig",
        {"spec": {"submissionMode": "SidecarMode", "submitterConfig": {"backoffLimit": 1}}},
    ),
    (
        "tokens of Kubernetes are not for RayJobs",
        {"spec": {"rayClusterSpec": {"authOptions": {"enableK8sTokenAuth": True}}}},
    ),
    (
        "a group of pods has no container",
        {"spec": {"rayClusterSpec": {"workerGroupSpecs": [{**GROUP, "template": {"spec": {"containers": []}}}]}}},
    ),
    (
        "minReplicas and maxReplicas are needed, in order",
        {"spec": {"rayClusterSpec": {"workerGroupSpecs": [{**GROUP, "minReplicas": 2}]}}},
    ),
    (
        "resources are given twice",
        {"spec": {"rayClusterSpec": {"headGroupSpec": {"resources": {"cpu": "1"}}}}},
    ),
    (
        "authOptions.mode token needs rayVersion 2.52 or newer",
        {"spec": {"rayClusterSpec": {"rayVersion": "2.51.2"}}},
    ),
    ("runtimeEnvYAML is not a YAML mapping", {"spec": {"runtimeEnvYAML": "env_vars: {A: 1"}}),
    ("runtimeEnvYAML is not a YAML mapping", {"spec": {"runtimeEnvYAML": "just words"}}),
    ("activeDeadlineSeconds is not positive", {"spec": {"activeDeadlineSeconds": 0}}),
    ("preRunningDeadlineSeconds is not positive", {"spec": {"preRunningDeadlineSeconds": 0}}),
    ("backoffLimit is negative", {"spec": {"backoffLimit": -1}}),
    ("Waiting is for InteractiveMode", {"status": {"jobDeploymentStatus": "Waiting"}}),
]


def changed(change: dict[str, Any]) -> dict[str, Any]:
    return merge(copy.deepcopy(VALID), change)


def merge(value: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    for name, new in change.items():
        value[name] = merge(value[name], new) if isinstance(value.get(name), dict) and isinstance(new, dict) else new
    return value


@pytest.mark.parametrize(("rule", "change"), TABLE)
def test_refused(rule: str, change: dict[str, Any]) -> None:
    rayjob = changed(change)
    assert find_fault(rayjob) == rule
    event = next_event(Look(rayjob, Seen(), now=0.0))
    assert event is not None
    assert (event.name, event.values) == ("Invalid", {"message": rule})


def test_every_rule_is_met_and_says_where_kuberay_has_it() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _ in TABLE}
    assert all(rule.source.startswith("kuberay:ray-operator/controllers/ray/utils/validation.go ") for rule in RULES)


@pytest.mark.parametrize(
    "change", [{}, {"spec": {"runtimeEnvYAML": "env_vars: {A: '1'}"}}, {"spec": {"suspend": True}}]
)
def test_taken(change: dict[str, Any]) -> None:
    assert find_fault(changed(change)) is None
