"""What is built is what Kubernetes and KubeRay take: no field misspelt, none of the wrong type."""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes.client as models
import pytest
import yaml

from kubedistill_operator.children.attempt import build_children
from support.child_scenarios import SCENARIOS, Manifest, build_child, request_of, templates

ROOT = Path(__file__).parents[3]
RAYJOBS = [name for name in SCENARIOS if request_of(name).kind == "RayJob"]
KINDS: dict[str, type] = {
    "ServiceAccount": models.V1ServiceAccount, "ConfigMap": models.V1ConfigMap, "Role": models.V1Role,
    "RoleBinding": models.V1RoleBinding, "Job": models.V1Job,
}  # fmt: skip
# All other fields of our RayJobs than metadata, pod templates and `ray start` parameters; where the CRD is missing.
_GROUP = ("rayStartParams", "template")
KNOWN_FIELDS = {
    *(
        f"spec.{name}"
        for name in (
            "entrypoint", "submissionMode", "backoffLimit", "preRunningDeadlineSeconds", "shutdownAfterJobFinishes",
            "ttlSecondsAfterFinished", "submitterPodTemplate", "rayClusterSpec.rayVersion",
            "rayClusterSpec.authOptions.mode",
        )
    ),
    *(f"spec.rayClusterSpec.headGroupSpec.{name}" for name in _GROUP),
    *(
        f"spec.rayClusterSpec.workerGroupSpecs[].{name}"
        for name in ("groupName", "replicas", "minReplicas", "maxReplicas", *_GROUP)
    ),
}  # fmt: skip


def find_crd() -> Path | None:
    """KubeRay's own schema, where it is at hand."""
    named = os.environ.get("KUBERAY_CRDS")
    file = Path(named or ROOT.parent / "shared" / "kuberay") / "ray.io_rayjobs.yaml"
    assert file.exists() or not named, f"KUBERAY_CRDS={named} holds no {file.name}"
    return file if file.exists() else None


CRD = find_crd()
BY = "by KubeRay's schema" if CRD else "only by the names of known fields, for KubeRay's schema is not at hand"


def closed(schema: Any) -> Any:
    """Return a schema that accepts no unnamed field, as the API server does in strict validation."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" not in schema:
        return {name: closed(value) for name, value in schema.items()}
    fields = {name: closed(value) for name, value in schema["properties"].items()}
    return {**schema, "properties": fields, "additionalProperties": False}


@pytest.fixture(scope="session")
def kuberay() -> jsonschema.Draft4Validator | None:
    """KubeRay's schema of the version that we write."""
    if CRD is None:
        return None
    # The loader in C: the file has 1.4 MB.
    crd = yaml.load(CRD.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    (version,) = [one for one in crd["spec"]["versions"] if one["name"] == "v1"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # the API server's own business
    return jsonschema.Draft4Validator(schema)


def fields(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted paths of a RayJob's own fields; metadata, pods and parameters are not looked into."""
    if isinstance(value, list):
        for one in value:
            yield from fields(one, f"{path}[]")
    elif isinstance(value, dict) and not path.endswith(("emplate", "rayStartParams")):
        for name, one in value.items():
            yield from fields(one, f"{path}.{name}".removeprefix("."))
    else:
        yield path


def complaints(rayjob: Manifest, kuberay: jsonschema.Draft4Validator | None) -> list[str]:
    unknown = set(fields({"spec": rayjob["spec"]})) - KNOWN_FIELDS
    broken = [error.message for error in kuberay.iter_errors(rayjob)] if kuberay else []
    return [*(f"unknown field {path}" for path in sorted(unknown)), *broken]


def child_of(name: str) -> Manifest:
    return build_child(request_of(name))


@pytest.mark.parametrize("by", [BY])
@pytest.mark.parametrize("name", RAYJOBS)
def test_rayjob_is_valid(name: str, by: str, kuberay: jsonschema.Draft4Validator | None) -> None:
    assert complaints(child_of(name), kuberay) == []


@pytest.mark.parametrize("by", [BY])
@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        (("spec",), "backofLimit", 0),
        (("spec", "rayClusterSpec", "authOptions"), "modes", "token"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0), "replica", 2),
    ],
)
def test_misspelt_field_is_found(
    place: tuple[Any, ...], field: str, value: Any, by: str, kuberay: jsonschema.Draft4Validator | None
) -> None:
    rayjob = copy.deepcopy(child_of("generate-llama-405b-on-two-nodes"))
    node = rayjob
    for step in place:
        node = node[step]
    node[field] = value
    assert field in " ".join(complaints(rayjob, kuberay))


def test_known_fields_are_those_that_are_used() -> None:
    assert {path for name in RAYJOBS for path in fields({"spec": child_of(name)["spec"]})} == KNOWN_FIELDS


@pytest.mark.parametrize("name", SCENARIOS)
def test_objects_of_kubernetes_are_known_to_the_last_field(name: str) -> None:
    for one in build_children(request_of(name)):
        if one["kind"] != "RayJob":
            assert read_and_written(KINDS[one["kind"]], one) == one


@pytest.mark.parametrize("name", RAYJOBS)
def test_pods_of_a_rayjob_are_known_to_the_last_field(name: str) -> None:
    for template in templates(child_of(name)).values():
        assert read_and_written(models.V1PodTemplateSpec, template) == template


def read_and_written(kind: Any, values: Manifest) -> Manifest:
    """Return what is left of an object when Kubernetes' own client has read it: it drops what it doesn't know."""
    return kind.model_validate(values).model_dump(by_alias=True, exclude_none=True)
