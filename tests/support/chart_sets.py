"""The chart's value sets, as `ct` finds them too, and what a rendered set is looked through for."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CHART = Path(__file__).parents[2] / "charts" / "kubedistill"
STORED = Path(__file__).parents[2] / "tests" / "upgrade" / "0.1" / "values.yaml"
"""All values of the chart of 0.1, which a release of it has stored."""
SETS = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]
"""From values, by their names with `__` for a dot, to what they install."""
CLUSTER_SCOPED = (
    "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)  # fmt: skip


def values_of(name: str) -> dict[str, Any]:
    """Return the values of a set."""
    return dict(YAML(typ="safe").load(SETS[name].read_text(encoding="utf-8")))  # 1e-1 is a number, as it is to Helm


def chart_with_stored_values(folder: Path) -> Path:
    """Return the chart as `helm upgrade --reuse-values` sees it after 0.1: with the defaults of then."""
    chart = folder / "stored" / CHART.name
    shutil.copytree(CHART, chart)
    shutil.copyfile(STORED, chart / "values.yaml")
    return chart


def umbrella_chart(folder: Path, *, alias: str = CHART.name) -> Path:
    """Return a chart that depends on this one alone, if `<alias>.enabled` is true."""
    chart = folder / "platform"
    shutil.copytree(CHART, chart / "charts" / CHART.name)
    dependency = {"name": CHART.name, "alias": alias, "version": "*", "condition": f"{alias}.enabled"}
    metadata = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    (chart / "Chart.yaml").write_text(json.dumps(metadata))
    return chart


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """Return all objects of a kind."""
    return [one for one in manifests if one["kind"] == kind]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the one object of a kind."""
    (found,) = of_kind(manifests, kind)
    return found


def operator_container(manifests: list[Manifest]) -> Manifest:
    """Return the one container of the operator's Deployment."""
    (found,) = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Yield (metadata, spec) of every pod that would run."""
    for one in manifests:
        if one["kind"] == "Pod":
            yield one["metadata"], one["spec"]
        elif "template" in one.get("spec", {}):
            yield one["spec"]["template"]["metadata"], one["spec"]["template"]["spec"]


def rules(manifests: list[Manifest], kind: str, name: str) -> set[str]:
    """Return what roles of a name allow, as "verb resource.group names"."""
    roles = [one for one in of_kind(manifests, kind) if one["metadata"]["name"].endswith(name)]
    return {
        " ".join([verb, f"{resource}.{group}".rstrip("."), *rule.get("resourceNames", [])])
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for group in rule["apiGroups"]
    }
