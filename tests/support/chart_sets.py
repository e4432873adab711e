"""The chart's value sets, as `ct` finds them too, and what a rendered set is looked through for."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CHART = Path(__file__).parents[2] / "charts" / "kubedistill"
SETS = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]
"""From values, by their names with `__` for a dot, to what they install."""
CLUSTER_SCOPED = (
    "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)  # fmt: skip


def values_of(name: str) -> dict[str, Any]:
    """The values of a set."""
    return dict(YAML(typ="safe").load(SETS[name].read_text(encoding="utf-8")))  # 1e-1 is a number, as it is to Helm


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """All objects of a kind."""
    return [one for one in manifests if one["kind"] == kind]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    """The one object of a kind."""
    (found,) = of_kind(manifests, kind)
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """(metadata, spec) of every pod that would run."""
    for one in manifests:
        if one["kind"] == "Pod":
            yield one["metadata"], one["spec"]
        elif "template" in one.get("spec", {}):
            yield one["spec"]["template"]["metadata"], one["spec"]["template"]["spec"]


def rules(manifests: list[Manifest], kind: str, name: str) -> set[str]:
    """What roles of a name allow, as "verb resource.group names"."""
    roles = [one for one in of_kind(manifests, kind) if one["metadata"]["name"].endswith(name)]
    return {
        " ".join([verb, f"{resource}.{group}".rstrip("."), *rule.get("resourceNames", [])])
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
    }
