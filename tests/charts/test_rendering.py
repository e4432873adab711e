"""What holds of every release, whatever its values: names, namespaces, labels, security, and that nothing is random."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from support.chart_sets import CLUSTER_SCOPED, SETS, Manifest, only, pods, values_of
from support.helm import CHART, Helm

every_set = pytest.mark.parametrize("name", SETS)
Rendered = Callable[[str], list[Manifest]]
_OURS = {"app.kubernetes.io/instance": "team", "app.kubernetes.io/managed-by": "Helm"}


@pytest.fixture
def manifests(name: str, rendered: Rendered) -> list[Manifest]:
    return rendered(name)


def test_there_are_at_least_twenty_value_sets() -> None:
    assert len(SETS) >= 20


@every_set
def test_two_renders_do_not_differ(name: str, helm: Helm) -> None:
    texts = {helm.run("template", "team", str(CHART), values=values_of(name)) for _ in range(2)}
    assert len(texts) == 1


@every_set
def test_lint_has_no_word_against_it(name: str, helm: Helm) -> None:
    said = helm.run("lint", str(CHART), "--strict", values=values_of(name))
    assert "0 chart(s) failed" in said
    assert "[WARNING]" not in said


@every_set
def test_every_object_says_where_it_is_and_only_values_name_other_namespaces(
    name: str, manifests: list[Manifest]
) -> None:
    values = values_of(name)
    named = values.get("settings", {}).get("watchNamespaces", [])
    named = {*named, *values.get("networkPolicy", {}).get("jobNamespaces", [])}
    monitors = values.get("metrics", {})
    named |= {monitors.get(one, {}).get("namespace") for one in ("serviceMonitor", "podMonitor")}
    extras = [one for one in manifests if not set(_OURS.items()) <= set(one["metadata"].get("labels", {}).items())]
    for one in manifests:
        where = one["metadata"].get("namespace")
        if one["kind"] in CLUSTER_SCOPED:
            assert where is None, one["metadata"]["name"]
        elif one not in extras:
            assert where in {"somewhere", *named}, one["metadata"]["name"]
    assert len(extras) == len(values.get("extraObjects", []))


@every_set
def test_no_two_objects_have_one_name(manifests: list[Manifest]) -> None:
    found = Counter((one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in manifests)
    assert [one for one, count in found.items() if count > 1] == []


@every_set
def test_cluster_scoped_objects_have_the_namespace_of_the_release_in_their_names(manifests: list[Manifest]) -> None:
    names = [one["metadata"]["name"] for one in manifests if one["kind"] in CLUSTER_SCOPED]
    assert all(name.startswith("somewhere.") for name in names if name != "distillationjobs.kubedistill.io")


@every_set
def test_names_of_services_and_label_values_are_short_enough(name: str, helm: Helm) -> None:
    release = "a-very-long-release-name.with-dots-that-helm-allows-53c"[:53]
    for one in helm.template(release, values=values_of(name)):
        if one["kind"] == "Service":
            assert len(one["metadata"]["name"]) <= 63
            assert "." not in one["metadata"]["name"]
        assert all(len(value) <= 63 for value in one["metadata"].get("labels", {}).values())


def test_names_that_look_like_numbers_stay_strings(helm: Helm) -> None:
    """A namespace may be called after the number of a pull request."""
    monitor = {"enabled": True, "namespace": "4711"}
    values = {
        "fullnameOverride": "e5",
        "serviceAccount": {"name": "12"},
        "priorityClassName": "7",
        "settings": {"watchNamespaces": ["0815", "1e3"]},
        "networkPolicy": {"enabled": True, "jobNamespaces": ["0815"], "kuberayNamespaces": ["1e3"]},
        "metrics": {"serviceMonitor": monitor, "podMonitor": monitor, "dashboards": {"enabled": True}},
        "podDisruptionBudget": {"enabled": True},
        "replicas": 2,
    }
    found = helm.template("1e3", namespace="1234", values=values)
    for one in found:
        labels = one["metadata"]["labels"]
        assert all(isinstance(value, str) for value in (one["metadata"]["name"], *labels.values())), one["kind"]
        assert one["metadata"].get("namespace", "1234") in {"1234", "0815", "1e3", "4711"}, one["kind"]
    assert all(isinstance(value, str) for selector in _selectors(found) for value in selector.values())
    spec = only(found, "Deployment")["spec"]["template"]["spec"]
    assert (spec["serviceAccountName"], spec["priorityClassName"]) == ("12", "7")
    assert only(found, "ServiceMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["1234"]}


@every_set
def test_pods_run_on_linux_unless_it_is_said_otherwise(name: str, manifests: list[Manifest]) -> None:
    nowhere = "kubernetes.io/os" in values_of(name).get("nodeSelector", {})
    for _, spec in pods(manifests):
        assert ("kubernetes.io/os" not in spec.get("nodeSelector", {})) is nowhere


@every_set
def test_pods_pass_the_restricted_standard(manifests: list[Manifest]) -> None:
    found = list(pods(manifests))
    assert found
    for _, spec in found:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all(set(volume) - {"name"} <= {"configMap", "emptyDir"} for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "hostPort" not in str(container.get("ports", ""))


@every_set
def test_every_container_asks_for_memory_and_is_held_to_it(manifests: list[Manifest]) -> None:
    for _, spec in pods(manifests):
        for container in spec["containers"]:
            assert "memory" in container["resources"]["requests"]
            assert "memory" in container["resources"]["limits"]


@every_set
def test_no_list_holds_a_name_twice(manifests: list[Manifest]) -> None:
    """Server-side apply, Helm 4's way, refuses those."""
    for _, spec in pods(manifests):
        for container in spec["containers"]:
            for field in ("env", "ports", "volumeMounts"):
                names = [one.get("name") for one in container.get(field, [])]
                assert len(names) == len(set(names)), field
        assert len({one["name"] for one in spec.get("volumes", [])}) == len(spec.get("volumes", []))


@every_set
def test_selectors_find_the_operators_pods_and_not_that_of_the_test(manifests: list[Manifest]) -> None:
    deployment = only(manifests, "Deployment")
    ours, tests = deployment["spec"]["template"]["metadata"]["labels"], only(manifests, "Pod")["metadata"]["labels"]
    selectors = [*_selectors(manifests)]
    assert len(selectors) >= 2
    for selector in selectors:
        assert selector.items() <= ours.items()
        assert not selector.items() <= tests.items()
    assert deployment["metadata"]["namespace"] == only(manifests, "Pod")["metadata"]["namespace"]


@every_set
def test_no_token_is_mounted_but_into_the_operators_pods(manifests: list[Manifest]) -> None:
    assert [spec["automountServiceAccountToken"] for _, spec in pods(manifests)] == [True, False]
    for account in (one for one in manifests if one["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@every_set
def test_no_right_is_given_to_everybody_or_to_everything(manifests: list[Manifest]) -> None:
    for one in manifests:
        for rule in one.get("rules", []):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]
        for subject in one.get("subjects", []):
            assert (subject["kind"], subject["namespace"]) == ("ServiceAccount", "somewhere")


@pytest.mark.parametrize(("served", "names_it"), [((), True), (("--api-versions", "ray.io/v1/RayJob"), False)])
def test_the_notes_ask_for_kuberay_unless_the_cluster_has_it(
    served: tuple[str, ...], helm: Helm, tmp_path: Path, *, names_it: bool
) -> None:
    """Helm renders notes only with a cluster, so here they are the value of a manifest."""
    chart = Path(shutil.copytree(CHART, tmp_path / "kubedistill"))
    notes = (chart / "templates" / "NOTES.txt").read_text(encoding="utf-8")
    (chart / "templates" / "notes.yaml").write_text(f"notes: |\n{indent(notes, '  ')}", encoding="utf-8")
    (shown,) = helm.template(chart=chart, options=("--show-only", "templates/notes.yaml", *served))
    assert ("install KubeRay 1.7 or later" in shown["notes"]) == names_it
    assert "Then run a job" in shown["notes"]


def _selectors(manifests: list[Manifest]) -> list[dict[str, Any]]:
    found = []
    for one in manifests:
        spec = one.get("spec", {})
        if one["kind"] == "Service":
            found.append(spec["selector"])
        elif one["kind"] in ("Deployment", "PodDisruptionBudget", "ServiceMonitor"):
            found.append(spec["selector"]["matchLabels"])
        elif one["kind"] == "NetworkPolicy" and "matchLabels" in spec["podSelector"]:
            found.append(spec["podSelector"]["matchLabels"])
    return found
