"""What each value does."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kubedistill.manifest.settings import Settings
from kubedistill.manifest.settings_file import load_settings
from support.chart_sets import Manifest, Render, of_kind, only, operator_container, rules
from support.helm import Helm, HelmFailed


def settings_file(manifests: list[Manifest]) -> str:
    data = [one["data"] for one in of_kind(manifests, "ConfigMap") if "settings.yaml" in one["data"]]
    return str(data[0]["settings.yaml"])


def test_settings_are_the_file_that_the_operator_reads(render: Render, tmp_path: Path) -> None:
    pools = {"h200": {"nodeSelector": {"gpu": "h200"}, "pricePerGpuHour": 1e-5, "cpuPerGpu": 11.5}}
    found = render(settings__pools=pools, settings__resyncSeconds=2_000_000_000, settings__storage__uri="s/on:no#t")
    (tmp_path / "settings.yaml").write_text(settings_file(found))
    settings = load_settings(tmp_path / "settings.yaml")
    assert settings.pools["h200"].price_per_gpu_hour == 1e-5
    assert settings.resync_seconds == 2_000_000_000
    assert settings.storage.uri == "s/on:no#t"
    assert settings.max_active_jobs_per_namespace == Settings().max_active_jobs_per_namespace


def test_settings_do_not_change_under_an_operator_of_an_earlier_version(render: Render) -> None:
    """A container that restarts during an upgrade would meet settings that it does not know; a subPath stays."""
    container = operator_container(render())
    mount = container["volumeMounts"][0]
    assert mount["subPath"] == "settings.yaml"
    assert f"--config={mount['mountPath']}" in container["args"]


def test_the_settings_of_the_examples_are_taken_word_for_word(helm: Helm, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "settings.yaml"
    values = YAML(typ="safe").load(example.read_text(encoding="utf-8"))
    (tmp_path / "settings.yaml").write_text(settings_file(helm.template(values={"settings": values})))
    assert load_settings(tmp_path / "settings.yaml") == load_settings(example)


@pytest.mark.parametrize("field", ["runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy"])
def test_a_null_in_the_security_context_of_jobs_reaches_the_operator(
    field: str, render: Render, tmp_path: Path
) -> None:
    (tmp_path / "settings.yaml").write_text(settings_file(render(**{f"settings__podSecurityContext__{field}": None})))
    found = load_settings(tmp_path / "settings.yaml").pod_security_context.model_dump(by_alias=True)
    assert found == {**Settings().pod_security_context.model_dump(by_alias=True), field: None}


def test_new_settings_make_new_pods_and_nothing_else_does(render: Render) -> None:
    def sums(**values: Any) -> str:
        template = only(render(**values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/settings"])

    assert sums() == sums(metrics__serviceMonitor__enabled=True)
    assert sums() != sums(settings__resyncSeconds=5)


def test_port_is_the_one_of_the_settings_everywhere(render: Render) -> None:
    found = render(settings__port=9090)
    assert operator_container(found)["ports"] == [{"name": "http", "containerPort": 9090}]
    assert only(found, "Service")["spec"]["ports"][0]["port"] == 9090
    assert ":9090/readyz" in str(only(found, "Pod"))


MONITORS: dict[str, Any] = {
    f"metrics__{name}__enabled": True for name in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboards")
}
IMAGES: dict[str, tuple[dict[str, str], str]] = {
    "as it is": ({}, "kubedistill/operator:0.1.0"),
    "another tag": ({"tag": "0.2.0"}, "kubedistill/operator:0.2.0"),
    "another registry": ({"registry": "ghcr.io", "repository": "a/b"}, "ghcr.io/a/b:0.1.0"),
    "a digest, which decides": (
        {"tag": "0.2.0", "digest": f"sha256:{'0' * 64}"}, f"kubedistill/operator@sha256:{'0' * 64}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", IMAGES)
def test_image_is_named_by_tag_or_digest(case: str, render: Render) -> None:
    image, name = IMAGES[case]
    found = render(image=image)
    assert operator_container(found)["image"] == name
    assert only(found, "Pod")["spec"]["containers"][0]["image"] == name


def test_for_all_namespaces_there_is_one_cluster_role(render: Render) -> None:
    found = render()
    assert [one["metadata"]["name"] for one in of_kind(found, "Role")] == ["team-kubedistill-operator-lease"]
    assert "create rayjobs.ray.io" in rules(found, "ClusterRole", "-operator")


def test_for_some_namespaces_there_is_a_role_in_each_and_none_for_the_cluster(render: Render) -> None:
    found = render(settings__watchNamespaces=["a", "b"], settings__rbac__nodes=False, rbac__aggregateClusterRoles=False)
    assert of_kind(found, "ClusterRole") + of_kind(found, "ClusterRoleBinding") == []
    for kind in ("Role", "RoleBinding"):
        places = [one["metadata"]["namespace"] for one in of_kind(found, kind)]
        assert sorted(places) == ["a", "b", "somewhere"]
    whole = rules(render(), "ClusterRole", "kubedistill-operator")
    assert rules(found, "Role", "somewhere.team-kubedistill-operator") == whole


def test_roles_in_other_namespaces_can_be_left_to_others(render: Render) -> None:
    found = render(settings__watchNamespaces=["a"], rbac__createNamespaced=False)
    assert {one["metadata"]["namespace"] for one in of_kind(found, "Role")} == {"somewhere"}


@pytest.mark.parametrize("namespaces", [[], ["a"]])
def test_roles_allow_accounts_nodes_and_events_only_where_settings_ask_for_them(
    namespaces: list[str], render: Render
) -> None:
    kind = "Role" if namespaces else "ClusterRole"
    allowed = render(settings__watchNamespaces=namespaces)
    refused = render(
        settings__watchNamespaces=namespaces,
        settings__rbac__createServiceAccounts=False,
        settings__rbac__nodes=False,
        settings__rbac__events=False,
    )
    before, after = rules(allowed, kind, "kubedistill-operator"), rules(refused, kind, "kubedistill-operator")
    assert before - after == {"get serviceaccounts", "create serviceaccounts", "list events"}
    assert rules(allowed, "ClusterRole", "-nodes") == {"get nodes"}
    assert rules(refused, "ClusterRole", "-nodes") == set()


def test_lease_is_the_releases_own(render: Render) -> None:
    found = render(fullnameOverride="ours")
    assert "--lease-name=ours-operator" in operator_container(found)["args"]
    assert rules(found, "Role", "-lease") == {
        "create leases.coordination.k8s.io",
        "get leases.coordination.k8s.io ours-operator",
        "update leases.coordination.k8s.io ours-operator",
    }


def test_users_roles_are_added_to_those_of_the_cluster(render: Render) -> None:
    found = {one["metadata"]["name"]: one for one in of_kind(render(), "ClusterRole")}
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    aggregated = {
        name.rpartition("-")[2]: {key.removeprefix(prefix) for key in one["metadata"]["labels"] if prefix in key}
        for name, one in found.items()
    }
    assert aggregated["view"] == {"view", "edit", "admin"}
    assert aggregated["edit"] == {"edit", "admin"}
    assert not [one for one in render(rbac__aggregateClusterRoles=False) if "-edit" in one["metadata"]["name"]]


def test_crd_is_kept_unless_it_is_said_otherwise(render: Render) -> None:
    kept = only(render(crds__annotations={"a": "b"}), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"] == {"a": "b", "helm.sh/resource-policy": "keep"}
    assert "annotations" not in only(render(crds__keep=False), "CustomResourceDefinition")["metadata"]
    assert of_kind(render(crds__install=False), "CustomResourceDefinition") == []


def test_an_account_of_others_is_bound_and_not_made(render: Render) -> None:
    found = render(serviceAccount__create=False, serviceAccount__name="theirs")
    assert of_kind(found, "ServiceAccount") == []
    assert only(found, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"
    names = {subject["name"] for one in found for subject in one.get("subjects", [])}
    assert names == {"theirs"}


def test_common_labels_are_everywhere_and_do_not_replace_ours(render: Render) -> None:
    theirs = {"team": "ml", "app.kubernetes.io/instance": "other", "app.kubernetes.io/component": "other"}
    found = render(commonLabels=theirs, **MONITORS)
    assert all(one["metadata"]["labels"]["team"] == "ml" for one in found)
    assert all(one["metadata"]["labels"]["app.kubernetes.io/instance"] == "team" for one in found)
    assert only(found, "Deployment")["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
    assert only(found, "Pod")["metadata"]["labels"]["app.kubernetes.io/component"] == "test"


def test_common_annotations_are_everywhere_and_do_not_replace_ours(render: Render) -> None:
    theirs = {"owner": "ml", "helm.sh/hook": "post-install", "helm.sh/resource-policy": "delete", "grafana_folder": "x"}
    found = render(commonAnnotations=theirs, crds__annotations={"owner": "platform"}, **MONITORS)
    crd = only(found, "CustomResourceDefinition")["metadata"]["annotations"]
    assert (crd["owner"], crd["helm.sh/resource-policy"]) == ("platform", "keep")
    assert only(found, "Pod")["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert all(one["metadata"]["annotations"]["owner"] for one in found)
    (dashboard, *_) = [one for one in of_kind(found, "ConfigMap") if "grafana_dashboard" in one["metadata"]["labels"]]
    assert dashboard["metadata"]["annotations"]["grafana_folder"] == "kubedistill"
    assert "owner" not in only(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]


def test_service_has_its_own_labels_and_annotations_and_its_monitor_selects_it(render: Render) -> None:
    labels = {"team": "monitoring", "app.kubernetes.io/component": "other"}
    found = render(
        service={"labels": labels, "annotations": {"owner": "monitoring"}},
        commonLabels={"team": "ml"},
        commonAnnotations={"owner": "ml", "other": "ml"},
        **MONITORS,
    )
    service, monitor = only(found, "Service")["metadata"], only(found, "ServiceMonitor")
    assert service["annotations"] == {"owner": "monitoring", "other": "ml"}
    assert service["labels"]["team"] == "monitoring"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["labels"].items()
    assert only(found, "Service")["spec"]["selector"].keys().isdisjoint({"team"})


def test_network_policies_admit_the_required_clients(render: Render) -> None:
    scraper = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    found = render(networkPolicy={"enabled": True, "metricsFrom": [scraper], "jobNamespaces": ["a"], **KUBERAY})
    own, jobs = of_kind(found, "NetworkPolicy")
    assert scraper in own["spec"]["ingress"][0]["from"]
    tests = own["spec"]["ingress"][0]["from"][1]["podSelector"]["matchLabels"]
    assert tests.items() <= only(found, "Pod")["metadata"]["labels"].items()
    assert (jobs["metadata"]["namespace"], jobs["spec"]["policyTypes"]) == ("a", ["Ingress"])
    each_other, kuberay, metrics = jobs["spec"]["ingress"]
    assert each_other == {"from": [{"podSelector": jobs["spec"]["podSelector"]}]}
    assert [one["port"] for one in kuberay["ports"]] == [8265]
    assert metrics["from"] == [scraper]
    assert of_kind(render(), "NetworkPolicy") == []


KUBERAY = {"kuberayNamespaces": ["kuberay"]}
LABEL = {"matchLabels": {"app.kubernetes.io/name": "kuberay-operator"}}
OF_0_1 = {"namespaceSelector": {}, "podSelector": LABEL}
"""What 0.1 had by default: whoever sets a label, in any namespace."""
PLACE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kuberay"}}}
PEERS = {
    "by namespace": (KUBERAY, [PLACE | {"podSelector": LABEL}]),
    "with the default of 0.1, as --reuse-values has it": (
        {**KUBERAY, "kuberayFrom": [OF_0_1]},
        [PLACE | {"podSelector": LABEL}],
    ),
    "by peers alone": ({"kuberayFrom": [PLACE]}, [PLACE]),
    "by both": ({**KUBERAY, "kuberayFrom": [PLACE]}, [PLACE | {"podSelector": LABEL}, PLACE]),
}


@pytest.mark.parametrize("case", PEERS)
def test_ray_lets_in_kuberay_and_no_label_that_jobs_may_set(case: str, render: Render) -> None:
    values, peers = PEERS[case]
    jobs = of_kind(render(networkPolicy={"enabled": True, "jobNamespaces": ["a"], **values}), "NetworkPolicy")[1]
    assert jobs["spec"]["ingress"][1] == {"from": peers, "ports": [{"port": 8265}]}


UNREACHABLE = {
    "nobody": ({}, "nobody could submit"),
    "whoever sets the label": ({"kuberayFrom": [OF_0_1]}, "nobody could submit"),
    "whoever is anywhere": ({"kuberayFrom": [{"namespaceSelector": {}}]}, "nobody could submit"),
    "a namespace with jobs": ({"kuberayNamespaces": ["kuberay", "a"]}, "a is one of jobNamespaces too"),
}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_policies_of_jobs_are_refused_without_kuberay(case: str, render: Render) -> None:
    values, problem = UNREACHABLE[case]
    with pytest.raises(HelmFailed) as caught:
        render(networkPolicy={"enabled": True, "jobNamespaces": ["a"], **values})
    assert f"networkPolicy.kuberayNamespaces: {problem}" in str(caught.value)


UNENFORCED = {
    "networkPolicy.jobNamespaces": {"networkPolicy": {"jobNamespaces": ["a"], **KUBERAY}},
    "networkPolicy.kuberayNamespaces": {"networkPolicy": KUBERAY},
    "serviceAccountPolicy.allowed": {"serviceAccountPolicy": {"allowed": ["bucket-reader"]}},
}


@pytest.mark.parametrize("field", UNENFORCED)
def test_a_wall_that_would_not_be_built_is_refused(field: str, render: Render) -> None:
    with pytest.raises(HelmFailed) as caught:
        render(**UNENFORCED[field])
    section, _, _ = field.partition(".")
    assert f"{field}: nothing enforces it while {section}.enabled is false" in str(caught.value)
    assert render(**{section: {**UNENFORCED[field][section], "enabled": True}}) != []


def test_extra_objects_are_templates(render: Render) -> None:
    text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ .Release.Name }}-text\n"
    found = render(
        extraObjects=[{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "{{ .Release.Name }}"}}, text]
    )
    assert [one["metadata"]["name"] for one in of_kind(found, "Secret")] == ["team", "team-text"]


def test_release_that_is_called_like_the_chart_is_not_called_so_twice(helm: Helm) -> None:
    assert only(helm.template("kubedistill"), "Deployment")["metadata"]["name"] == "kubedistill-operator"
    assert only(helm.template("team"), "Deployment")["metadata"]["name"] == "team-kubedistill-operator"


def test_two_releases_share_no_name(helm: Helm) -> None:
    values = {"crds": {"install": False}}

    def names(release: str, namespace: str) -> set[tuple[str, str, str]]:
        found = helm.template(release, namespace=namespace, values=values)
        return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in found}

    assert names("one", "here") & names("two", "here") == set()
    assert names("one", "here") & names("one", "there") == set()
