"""What Prometheus and Grafana are handed, and what the values do to it."""

from typing import Any

import yaml

from kubedistill.labels import JOB_UID_LABEL, STAGE_LABEL
from support.chart_sets import CHART, Render, of_kind, only
from support.helm import Helm

MONITORS: dict[str, Any] = {
    f"metrics__{name}__enabled": True for name in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboards")
}


def test_monitors_see_the_operator_and_the_pods_of_jobs(render: Render) -> None:
    values = {f"metrics__{kind}": {"enabled": True, "labels": {"release": "kps"}} for kind in ("podMonitor",)}
    found = render(**values, metrics__serviceMonitor__enabled=True, settings__watchNamespaces=["a"])
    service, pod = only(found, "ServiceMonitor"), only(found, "PodMonitor")
    assert service["spec"]["endpoints"][0]["port"] == only(found, "Service")["spec"]["ports"][0]["name"]
    assert service["spec"]["endpoints"][0]["honorLabels"] is True
    assert pod["metadata"]["labels"]["release"] == "kps"
    assert pod["spec"]["selector"]["matchExpressions"] == [{"key": JOB_UID_LABEL, "operator": "Exists"}]
    assert pod["spec"]["namespaceSelector"] == {"matchNames": ["a"]}
    sources = [rule["sourceLabels"][0] for rule in pod["spec"]["podMetricsEndpoints"][0]["relabelings"]]
    assert f"__meta_kubernetes_pod_label_{STAGE_LABEL.replace('.', '_').replace('/', '_')}" in sources
    everywhere = only(render(metrics__podMonitor__enabled=True), "PodMonitor")
    assert everywhere["spec"]["namespaceSelector"] == {"any": True}


def test_monitors_elsewhere_still_see_this_release_and_clash_with_no_other(helm: Helm) -> None:
    monitor = {"enabled": True, "namespace": "monitoring"}
    values = {"metrics": {"serviceMonitor": monitor, "podMonitor": monitor}}
    names = set()
    for namespace in ("here", "there"):
        found = helm.template("team", namespace=namespace, values=values)
        service, pod = only(found, "ServiceMonitor"), only(found, "PodMonitor")
        assert {one["metadata"]["namespace"] for one in (service, pod)} == {"monitoring"}
        assert service["spec"]["namespaceSelector"] == {"matchNames": [namespace]}
        names |= {(one["kind"], one["metadata"]["name"]) for one in (service, pod)}
    assert len(names) == 4


def test_monitors_scrape_and_relabel_as_they_are_told(render: Render) -> None:
    target, sample = {"targetLabel": "node"}, {"action": "drop", "regex": "x"}
    told = {
        "enabled": True,
        "interval": "1m",
        "scrapeTimeout": "20s",
        "relabelings": [target],
        "metricRelabelings": [sample],
    }
    found = render(metrics={"serviceMonitor": told, "podMonitor": told})
    plain = render(**MONITORS)
    for kind, field in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")):
        for endpoint, before in zip(only(found, kind)["spec"][field], only(plain, kind)["spec"][field], strict=True):
            assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("1m", "20s")
            assert endpoint["relabelings"] == [*before.get("relabelings", []), target]
            assert endpoint["metricRelabelings"] == [sample]
            assert not {"scrapeTimeout", "metricRelabelings"} & before.keys()


def test_every_dashboard_of_the_folder_is_handed_to_grafana(render: Render) -> None:
    found = render(metrics__dashboards__enabled=True)
    shown = [one for one in of_kind(found, "ConfigMap") if "grafana_dashboard" in one["metadata"]["labels"]]
    files = sorted((CHART / "dashboards").glob("*.json"))
    assert files
    for file in files:
        (one,) = [one for one in shown if file.name in one["data"]]
        assert yaml.safe_load(one["data"][file.name]) == yaml.safe_load(file.read_text(encoding="utf-8"))
    assert len(shown) == len(files)
