"""What KubeRay 1.7 refuses to run: each rule with its place in KubeRay. The messages are ours."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Values = Mapping[str, Any]
LONGEST_NAME = 47
"""kuberay:ray-operator/controllers/ray/utils/constant.go MaxRayJobNameLength."""
_FIRST_RAY_WITH_TOKENS = (2, 52)
_FILE = "kuberay:ray-operator/controllers/ray/utils/validation.go"


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason to refuse a RayJob."""

    name: str
    broken: Callable[[Values], bool]
    """Whether a RayJob (the whole object) breaks it."""
    source: str


def find_fault(rayjob: Values) -> str | None:
    """Return the name of the first rule that a RayJob breaks."""
    return next((rule.name for rule in RULES if rule.broken(rayjob)), None)


def _spec(rayjob: Values) -> Values:
    return rayjob.get("spec", {})


def _cluster(rayjob: Values) -> Values:
    return _spec(rayjob).get("rayClusterSpec") or {}


def _selected(rayjob: Values) -> Values:
    return _spec(rayjob).get("clusterSelector") or {}


def _has(rayjob: Values, **expected: Any) -> bool:
    return all(_spec(rayjob).get(name) == value for name, value in expected.items())


def _is_bad_label(rayjob: Values) -> bool:
    return not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", rayjob["metadata"]["name"])


def _is_bad_runtime_env(rayjob: Values) -> bool:
    try:
        values = yaml.safe_load(_spec(rayjob).get("runtimeEnvYAML", ""))
    except yaml.YAMLError:
        return True
    return not (values is None or isinstance(values, dict))


def _has_empty_group(rayjob: Values) -> bool:
    cluster = _cluster(rayjob)
    groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())] if cluster else []
    return any(not group["template"]["spec"].get("containers") for group in groups)


def _has_unbounded_group(rayjob: Values) -> bool:
    cluster = _cluster(rayjob)
    if cluster.get("enableInTreeAutoscaling"):
        return False
    return any(
        group.get("minReplicas") is None
        or group.get("maxReplicas") is None
        or not 0 <= group["minReplicas"] <= group["maxReplicas"]
        for group in cluster.get("workerGroupSpecs", ())
    )


def _has_resources_twice(rayjob: Values) -> bool:
    cluster = _cluster(rayjob)
    groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())] if cluster else []
    started = ("num-cpus", "num-gpus", "memory", "resources")
    return any(
        group.get("resources") and any(group.get("rayStartParams", {}).get(name) for name in started)
        for group in groups
    )


def _has_token_without_ray(rayjob: Values) -> bool:
    if _cluster(rayjob).get("authOptions", {}).get("mode") != "token":
        return False
    version = re.match(r"v?(\d+)\.(\d+)", _cluster(rayjob).get("rayVersion", ""))
    return version is None or tuple(map(int, version.groups())) < _FIRST_RAY_WITH_TOKENS


def _is_negative(name: str, *, least: int) -> Callable[[Values], bool]:
    return lambda rayjob: _spec(rayjob).get(name) is not None and _spec(rayjob)[name] < least


def _retries(rayjob: Values) -> bool:
    return bool(_spec(rayjob).get("backoffLimit", 0) > 0)


RULES: tuple[Rule, ...] = (
    Rule(f"metadata.name is longer than {LONGEST_NAME}", lambda r: len(r["metadata"]["name"]) > LONGEST_NAME,
         f"{_FILE} ValidateRayJobMetadata"),
    Rule("metadata.name is not a DNS-1035 label", _is_bad_label, f"{_FILE} ValidateRayJobMetadata"),
    Rule("suspend needs shutdownAfterJobFinishes",
         lambda r: _has(r, suspend=True) and not _has(r, shutdownAfterJobFinishes=True),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("ttlSecondsAfterFinished is negative", _is_negative("ttlSecondsAfterFinished", least=0),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("ttlSecondsAfterFinished needs shutdownAfterJobFinishes",
         lambda r: _spec(r).get("ttlSecondsAfterFinished", 0) > 0 and not _has(r, shutdownAfterJobFinishes=True),
         f"{_FILE} validateDeletionConfiguration"),
    Rule("deletionRules exclude shutdownAfterJobFinishes",
         lambda r: bool((_spec(r).get("deletionStrategy") or {}).get("deletionRules"))
         and _has(r, shutdownAfterJobFinishes=True),
         f"{_FILE} validateDeletionConfiguration"),
    Rule("suspend excludes clusterSelector", lambda r: _has(r, suspend=True) and bool(_selected(r)),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("rayClusterSpec or clusterSelector is needed", lambda r: not _cluster(r) and not _selected(r),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("clusterSelector needs the key ray.io/cluster",
         lambda r: bool(_selected(r)) and not _selected(r).get("ray.io/cluster"),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("clusterSelector excludes SidecarMode",
         lambda r: bool(_selected(r)) and _has(r, submissionMode="SidecarMode"), f"{_FILE} ValidateRayJobSpec"),
    Rule("backoffLimit excludes clusterSelector", lambda r: bool(_selected(r)) and _retries(r),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("backoffLimit excludes InteractiveMode", lambda r: _has(r, submissionMode="InteractiveMode") and _retries(r),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("SidecarMode excludes submitterPodTemplate and submitterConfig",
         lambda r: _has(r, submissionMode="SidecarMode")
         and bool(_spec(r).get("submitterPodTemplate") or _spec(r).get("submitterConfig")),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("tokens of Kubernetes are not for RayJobs",
         lambda r: bool(_cluster(r).get("authOptions", {}).get("enableK8sTokenAuth")), f"{_FILE} ValidateRayJobSpec"),
    Rule("a group of pods has no container", _has_empty_group, f"{_FILE} ValidateRayClusterSpec"),
    Rule("minReplicas and maxReplicas are needed, in order", _has_unbounded_group, f"{_FILE} ValidateRayClusterSpec"),
    Rule("resources are given twice", _has_resources_twice, f"{_FILE} validateRayGroupResources"),
    Rule("authOptions.mode token needs rayVersion 2.52 or newer", _has_token_without_ray,
         f"{_FILE} ValidateRayClusterSpec"),
    Rule("runtimeEnvYAML is not a YAML mapping", _is_bad_runtime_env,
         f"{_FILE} ValidateRayJobSpec; utils/dashboardclient UnmarshalRuntimeEnvYAML"),
    Rule("activeDeadlineSeconds is not positive", _is_negative("activeDeadlineSeconds", least=1),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("preRunningDeadlineSeconds is not positive", _is_negative("preRunningDeadlineSeconds", least=1),
         f"{_FILE} ValidateRayJobSpec"),
    Rule("backoffLimit is negative", _is_negative("backoffLimit", least=0), f"{_FILE} ValidateRayJobSpec"),
    Rule("Waiting is for InteractiveMode",
         lambda r: r.get("status", {}).get("jobDeploymentStatus") == "Waiting"
         and not _has(r, submissionMode="InteractiveMode"),
         f"{_FILE} ValidateRayJobStatus"),
)  # fmt: skip
