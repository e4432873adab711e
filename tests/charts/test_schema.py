"""Wrong values are refused before anything is installed, with the place and what is wrong."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from chart_values import Values
from support.chart_sets import SETS, values_of
from support.helm import Helm, HelmFailed
from support.messages import CheckMessage

# Values, and what is said of them.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replicaCount": 2}, "at '': additional properties 'replicaCount' not allowed"),
    "a registry that is a URL": (
        {"image": {"registry": "https://ghcr.io"}}, "at '/image/registry': 'https://ghcr.io' does not match",
    ),
    "one further down": ({"image": {"name": "x"}}, "at '/image': additional properties 'name' not allowed"),
    "an unknown setting": (
        {"settings": {"resyncSecond": 5}}, "at '/settings': additional properties 'resyncSecond' not allowed",
    ),
    "a port that is none": ({"settings": {"port": 70000}}, "at '/settings/port': maximum: got 70,000, want 65,535"),
    "a string for a number": ({"settings": {"port": "80"}}, "at '/settings/port': got string, want integer"),
    "a number for a string": (
        {"settings": {"cpuResources": {"cpu": 2}}}, "at '/settings/cpuResources/cpu': got number, want string",
    ),
    "a namespace that is none": (
        {"settings": {"watchNamespaces": ["Team_A"]}}, "at '/settings/watchNamespaces/0': 'Team_A' does not match",
    ),
    "a pool without nodes": ({"settings": {"pools": {"h200": {}}}}, "missing property 'nodeSelector'"),
    "a pool whose name no job can write": (
        {"settings": {"pools": {"H200": {"gpusPerNode": 0}}}},
        "at '/settings/pools': additional properties 'H200' not allowed",
    ),
    "a label of nodes with a space": (
        {"settings": {"pools": {"h200": {"nodeSelector": {"gpu": "NVIDIA H200"}}}}},
        "at '/settings/pools/h200/nodeSelector/gpu': 'NVIDIA H200' does not match",
    ),
    "a key of nodes with a space": (
        {"settings": {"pools": {"h200": {"nodeSelector": {"x y": "a"}}}}},
        "at '/settings/pools/h200/nodeSelector': additional properties 'x y' not allowed",
    ),
    "a toleration of nothing": (
        {"settings": {"pools": {"h200": {"nodeSelector": {"gpu": "h200"}, "tolerations": [{}]}}}},
        "at '/settings/pools/h200/tolerations/0'",
    ),
    "Exists with a value": (
        {"settings": {"pools": {"h200": {"nodeSelector": {"gpu": "h200"}, "tolerations": [
            {"key": "gpu", "operator": "Exists", "value": "a"}]}}}},
        "at '/settings/pools/h200/tolerations/0/value': value must be ''",
    ),
    "a GPU resource that is none": (
        {"settings": {"pools": {"h200": {"nodeSelector": {"gpu": "h200"}, "gpuResource": "gpu here"}}}},
        "at '/settings/pools/h200/gpuResource': 'gpu here' does not match",
    ),
    "a quota's resource": (
        {"settings": {"pools": {"h200": {"nodeSelector": {"gpu": "h200"}, "gpuResource": "requests.a.com/gpu"}}}},
        "at '/settings/pools/h200/gpuResource': 'not' failed",
    ),
    "an image that is none": (
        {"settings": {"images": {"runtime": "My Image"}}}, "at '/settings/images/runtime': 'My Image' does not match",
    ),
    "a claim that is none": (
        {"settings": {"storage": {"volumeClaim": "My Claim"}}}, "at '/settings/storage/volumeClaim'",
    ),
    "a label key that is none": (
        {"settings": {"topologySpread": {"a b": {}}}}, "at '/settings/topologySpread': additional properties 'a b'",
    ),
    "root": ({"settings": {"podSecurityContext": {"runAsUser": 0}}}, "at '/settings/podSecurityContext/runAsUser'"),
    "a proxy without a scheme": (
        {"settings": {"proxy": {"httpProxy": "proxy:3128"}}}, "at '/settings/proxy/httpProxy': 'proxy:3128' does not",
    ),
    "an unknown mode": (
        {"settings": {"submissionMode": "SidecarMode"}}, "value must be one of 'HTTPMode', 'K8sJobMode'",
    ),
    "a digest that is none": ({"image": {"digest": "sha256:1"}}, "at '/image/digest': 'sha256:1' does not match"),
    "an unknown pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "value must be one of 'Always', 'IfNotPresent'"),
    "a log level of others": ({"logLevel": "trace"}, "value must be one of 'debug', 'info', 'warning'"),
    "too many replicas": ({"replicas": 100}, "at '/replicas': maximum: got 100, want 9"),
    "a label that is not a string": ({"commonLabels": {"a": 1}}, "at '/commonLabels/a': got number, want string"),
    "a list for a map": ({"resources": []}, "at '/resources': got array, want object"),
    "a switch that is a string": ({"crds": {"install": "yes"}}, "at '/crds/install': got string, want boolean"),
    "an interval without unit": (
        {"metrics": {"podMonitor": {"interval": "30"}}}, "at '/metrics/podMonitor/interval': '30' does not match",
    ),
    "an account that is none": (
        {"serviceAccountPolicy": {"allowed": ["it's mine"]}}, "at '/serviceAccountPolicy/allowed/0'",
    ),
    "a switch of an umbrella that is a string": ({"enabled": "yes"}, "at '/enabled': got string, want boolean"),
    "a probe of one's own": (
        {"readinessProbe": {"httpGet": {"path": "/"}}},
        "at '/readinessProbe': additional properties 'httpGet' not allowed",
    ),
    "a budget in other words": (
        {"podDisruptionBudget": {"minAvailable": 1}},
        "at '/podDisruptionBudget': additional properties 'minAvailable' not allowed",
    ),
    "a timeout without unit": (
        {"metrics": {"podMonitor": {"scrapeTimeout": "10"}}},
        "at '/metrics/podMonitor/scrapeTimeout': '10' does not match",
    ),
    "a namespace of monitors that is none": (
        {"metrics": {"serviceMonitor": {"namespace": "Monitoring"}}}, "'Monitoring' does not match",
    ),
    "an annotation that is not a string": (
        {"service": {"annotations": {"prometheus.io/port": 8080}}},
        "at '/service/annotations/prometheus.io~1port': got number, want string",
    ),
    "fewer revisions than none": (
        {"revisionHistoryLimit": -1}, "at '/revisionHistoryLimit': minimum: got -1, want 0",
    ),
    "a name that is none": (
        {"fullnameOverride": "My Operator"}, "at '/fullnameOverride': 'My Operator' does not match",
    ),
}  # fmt: skip
EMPTIED: dict[str, tuple[dict[str, Any], str]] = {
    "a whole section": ({"image": None}, "missing property 'image'"),
    "a section of a section": ({"metrics": {"podMonitor": None}}, "at '/metrics': missing property 'podMonitor'"),
    "a setting that the chart reads": ({"settings": {"port": None}}, "at '/settings': missing property 'port'"),
    "another one": ({"settings": {"rbac": {"nodes": None}}}, "at '/settings/rbac': missing property 'nodes'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_with_place_and_reason(case: str, helm: Helm, check_message: CheckMessage) -> None:
    values, said = WRONG[case]
    with pytest.raises(HelmFailed) as caught:
        helm.template(values=values)
    check_message(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("case", WRONG)
def test_the_model_refuses_all_that_the_schema_refuses(case: str) -> None:
    values, _ = WRONG[case]
    with pytest.raises(ValidationError):
        Values.model_validate_json(_json(values))


@pytest.mark.parametrize("case", EMPTIED)
def test_values_that_templates_read_cannot_be_removed(case: str, helm: Helm) -> None:
    values, said = EMPTIED[case]
    with pytest.raises(HelmFailed) as caught:
        helm.template(values=values)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", SETS)
def test_published_examples_are_valid_for_the_model(name: str) -> None:
    Values.model_validate_json(_json(values_of(name)))


def _json(values: dict[str, Any]) -> str:
    # To Helm a null is a value that is absent.
    def without_nulls(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: without_nulls(value) for key, value in node.items() if value is not None}
        return node

    return json.dumps(without_nulls(values))
