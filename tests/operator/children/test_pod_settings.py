"""What the platform's settings make of the pods of jobs, and what they leave alone."""

import dataclasses
import json
import urllib.request
from typing import Any

import pytest
import requests.utils
from pydantic import ValidationError

from kubedistill.manifest.settings import Images, PodSecurityContext, Settings
from kubedistill_operator.children.request import ChildRequest
from support.child_scenarios import (
    EVERY_SETTING,
    SCENARIOS,
    SETTINGS,
    Manifest,
    build_child,
    gpus,
    request_of,
    templates,
)
from support.fake_kuberay.child import Child, Cluster
from support.fake_kuberay.pods import cluster_pod, slots_of

GPU_STAGE, CPU_STAGE = "generate-llama-405b-on-two-nodes", "generate-quickstart-on-cpu"
EVERY = "generate-with-every-setting"
RESTRICTED = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


DIGEST = "a" * 64


def read(values: dict[str, Any]) -> Settings:
    """Return settings as the operator reads them from a file."""
    return Settings.model_validate_json(json.dumps(values), by_alias=True, by_name=False)


def child(request: ChildRequest) -> Manifest:
    return build_child(request)


def pods(name: str, **values: Any) -> dict[str, Manifest]:
    """Return the pod specs of a scenario by role, under the default settings but for `values`."""
    settings = read({**SETTINGS.model_dump(mode="json", by_alias=True), **values})
    request = dataclasses.replace(request_of(name), settings=settings)
    return {role: template["spec"] for role, template in templates(child(request)).items()}


def containers(name: str, **values: Any) -> dict[str, Manifest]:
    return {role: pod["containers"][0] for role, pod in pods(name, **values).items()}


def variables(container: Manifest) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container.get("env", [])}


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_gpu_image_is_for_the_pods_of_stages_with_gpus_alone(name: str) -> None:
    request = request_of(name)
    built = child(request)
    resource = "nvidia.com/gpu"
    image = request.images.runtime if gpus(built, resource) else request.images.runtime_cpu
    found = {
        one["spec"]["containers"][0]["image"].removeprefix("registry.example.com/mirror/")
        for one in templates(built).values()
    }
    assert found == {image}


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("kubedistill/runtime-cpu:0.1.0", "r.io/m/kubedistill/runtime-cpu:0.1.0"),
        ("runtime-cpu", "r.io/m/runtime-cpu"),
        ("runtime:0.1.0", "r.io/m/runtime:0.1.0"),
        (f"kubedistill/runtime@sha256:{DIGEST}", f"r.io/m/kubedistill/runtime@sha256:{DIGEST}"),
        ("ghcr.io/kubedistill/runtime:0.1.0", "ghcr.io/kubedistill/runtime:0.1.0"),
        ("localhost/runtime", "localhost/runtime"),
        ("mirror:5000/runtime", "mirror:5000/runtime"),
    ],
)
def test_the_registry_is_for_images_that_name_none(image: str, pulled: str) -> None:
    request = dataclasses.replace(request_of(CPU_STAGE), images=Images(runtime_cpu=image, registry="r.io/m"))
    found = {one["spec"]["containers"][0]["image"] for one in templates(child(request)).values()}
    assert found == {pulled}


def test_the_platforms_pull_secrets_come_before_the_jobs_and_none_twice() -> None:
    found = templates(child(request_of(EVERY)))
    assert {role: [one["name"] for one in pod["spec"]["imagePullSecrets"]] for role, pod in found.items()} == {
        role: ["company", "registry", "own"] for role in ("driver", "teacher", "submitter")
    }


@pytest.mark.parametrize("name", SCENARIOS)
def test_pods_run_as_the_group_that_the_store_is_made_writable_for(name: str) -> None:
    context = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}
    assert all(pod["securityContext"] == {**RESTRICTED, **context} for pod in pods(name).values())


@pytest.mark.parametrize("field", ["runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy"])
def test_a_field_of_the_security_context_that_is_null_is_left_out(field: str) -> None:
    default = SETTINGS.pod_security_context.model_dump(mode="json", by_alias=True)
    context = {name: value for name, value in default.items() if name != field}
    for left in ({**default, field: None}, context):  # as a person writes it, and as Helm leaves it
        found = pods("generate-in-k8s-job-mode", podSecurityContext=left, submissionMode="K8sJobMode")
        assert found.keys() == {"driver", "teacher", "submitter"}
        assert all(pod["securityContext"] == {**RESTRICTED, **context} for pod in found.values())


def test_an_empty_security_context_leaves_user_and_groups_to_the_platform() -> None:
    assert read({"podSecurityContext": {}}).pod_security_context == PodSecurityContext()
    assert all(pod["securityContext"] == RESTRICTED for pod in pods(CPU_STAGE, podSecurityContext={}).values())


@pytest.mark.parametrize("name", SCENARIOS)
def test_cpu_limits_are_what_is_requested_where_they_are_asked_for(name: str) -> None:
    for container in containers(name, cpuLimits="AsRequested", submissionMode="K8sJobMode").values():
        resources = container["resources"]
        assert resources["limits"]["cpu"] == resources["requests"]["cpu"]
    assert not any("cpu" in container["resources"]["limits"] for container in containers(name).values())


DISKS: dict[str, tuple[str, dict[str, str | None]]] = {
    "each group has its own": (EVERY, {"driver": "2Gi", "teacher": "100Gi", "submitter": None}),
    "a Job without a pool": ("prepare-with-every-setting", {"driver": "2Gi"}),
    "none by default": (GPU_STAGE, {"driver": None, "teacher": None}),
}


@pytest.mark.parametrize("case", DISKS)
def test_local_disk_is_requested_and_not_limited(case: str) -> None:
    name, wanted = DISKS[case]
    found = {
        role: one["spec"]["containers"][0]["resources"] for role, one in templates(child(request_of(name))).items()
    }
    assert {role: one["requests"].get("ephemeral-storage") for role, one in found.items()} == wanted
    assert not any("ephemeral-storage" in one["limits"] for one in found.values())


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_pod_keeps_to_linux_and_to_its_pool(name: str) -> None:
    request = request_of(name)
    for pod in pods(name, submissionMode="K8sJobMode").values():
        selector = dict(pod["nodeSelector"])
        assert selector.pop("kubernetes.io/os") == "linux"
        assert selector in [{}, *(pool.node_selector for pool in request.pools.values())]


def test_a_runtime_class_is_for_the_pods_of_its_pool_and_the_scheduler_for_all() -> None:
    found = templates(child(request_of(EVERY)))
    assert {role: pod["spec"].get("runtimeClassName") for role, pod in found.items()} == {
        "driver": None,
        "teacher": "nvidia",
        "submitter": None,
    }
    assert {pod["spec"]["schedulerName"] for pod in found.values()} == {"volcano"}
    assert not any({"schedulerName", "runtimeClassName"} & pod.keys() for pod in pods(GPU_STAGE).values())


def test_spread_is_of_the_workers_of_one_attempt_and_of_no_other_pod() -> None:
    request = request_of(EVERY)
    built = child(request)
    found = {role: one["spec"].get("topologySpreadConstraints", []) for role, one in templates(built).items()}
    assert (found["driver"], found["submitter"]) == ([], [])
    assert [(one["topologyKey"], one["maxSkew"], one["whenUnsatisfiable"]) for one in found["teacher"]] == [
        ("kubernetes.io/hostname", 1, "ScheduleAnyway"),
        ("topology.kubernetes.io/zone", 2, "DoNotSchedule"),
    ]
    later = dataclasses.replace(request, stage_job=request.stage_job.model_copy(update={"attempt": 2}))
    labels = [*pod_labels(built), *pod_labels(child(later))]
    for constraint in found["teacher"]:
        selected = constraint["labelSelector"]["matchLabels"].items()
        assert [one["ray.io/node-type"] for one in labels if selected <= one.items()] == ["worker"]


def pod_labels(rayjob: Manifest) -> list[dict[str, str]]:
    """Return the labels of a RayJob's pods, a pod a group, as KubeRay makes them."""
    owner = Child("RayJob", ("team-a", "a"), "uid", rayjob, cluster=Cluster("a-x2"))
    return [cluster_pod(owner, slot)["metadata"]["labels"] for slot in slots_of(rayjob["spec"]["rayClusterSpec"])]


NO_PROXY = "localhost,127.0.0.1,::1,.svc,.cluster.local,kubernetes.default.svc,$(KUBERNETES_SERVICE_HOST)"
PROXIES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "none": ({}, {}),
    "hosts alone are of no use": ({"noProxy": ["a.example.com"]}, {}),
    "one for http": ({"httpProxy": "http://p:1"}, {"HTTP_PROXY": "http://p:1", "NO_PROXY": NO_PROXY}),
    "two and more hosts": (
        {"httpProxy": "http://p:1", "httpsProxy": "https://p:2", "noProxy": [".example.com", "10.0.0.0/8"]},
        {
            "HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "https://p:2",
            "NO_PROXY": f"{NO_PROXY},.example.com,10.0.0.0/8",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROXIES)
def test_proxies_reach_every_container_in_both_spellings(case: str) -> None:
    proxy, wanted = PROXIES[case]
    plain = {role: variables(one) for role, one in containers("generate-in-k8s-job-mode").items()}
    for role, container in containers("generate-in-k8s-job-mode", proxy=proxy).items():
        both = wanted | {name.lower(): value for name, value in wanted.items()}
        assert variables(container) == {**plain[role], **both}


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("localhost", True),  # KubeRay's probes, by exec in each pod
        ("127.0.0.1", True),
        ("quickstart-generate-tgkkr-x2-head-svc.team-a.svc.cluster.local", True),  # KubeRay's submitter
        ("kubernetes.default.svc", True),
        ("10.96.0.1", True),  # the API server as a pod's variables name it
        ("models.example.com", True),
        ("huggingface.co", False),
        ("10.96.0.10", False),
    ],
)
def test_addresses_of_the_cluster_are_reached_without_the_proxy(
    host: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = {"httpProxy": "http://p:1", "httpsProxy": "http://p:1", "noProxy": [".example.com"]}
    found = variables(containers(CPU_STAGE, proxy=proxy)["driver"])["no_proxy"]
    found = found.replace("$(KUBERNETES_SERVICE_HOST)", "10.96.0.1")  # as the kubelet does
    assert bool(urllib.request.proxy_bypass_environment(host, {"no": found})) is direct
    assert requests.utils.should_bypass_proxies(f"https://{host}/", no_proxy=found) is direct


def test_authorities_are_mounted_where_the_variables_say_in_every_container() -> None:
    for template in templates(child(request_of(EVERY))).values():
        pod, (container,) = template["spec"], template["spec"]["containers"]
        (volume,) = [one["configMap"] for one in pod["volumes"] if one["name"] == "ca"]
        (mount,) = [one for one in container["volumeMounts"] if one["name"] == "ca"]
        assert volume == {"name": "company-ca", "items": [{"key": "ca-bundle.crt", "path": "ca.crt"}]}
        trusted = {variables(container)[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
        assert trusted == {f"{mount['mountPath']}/ca.crt"}
        assert mount["readOnly"] is True
    mounted = [one for container in containers(GPU_STAGE).values() for one in container.get("volumeMounts", [])]
    assert "ca" not in {one["name"] for one in mounted}


REFUSED: dict[str, dict[str, Any]] = {
    "podSecurityContext.runAsUser": {"podSecurityContext": {"runAsUser": 0}},
    "podSecurityContext.fsGroup": {"podSecurityContext": {"fsGroup": -1}},
    "podSecurityContext.fsGroupChangePolicy": {"podSecurityContext": {"fsGroupChangePolicy": "Never"}},
    "cpuLimits": {"cpuLimits": "Always"},
    "storage.volumeClaim": {"storage": {"volumeClaim": "My Claim"}},
    "schedulerName": {"schedulerName": "my scheduler"},
    "caBundle.configMap": {"caBundle": {"configMap": "../etc"}},
    "caBundle.key": {"caBundle": {"configMap": "a", "key": "../ca.crt"}},
    "proxy.httpProxy": {"proxy": {"httpProxy": "proxy.example.com:3128"}},
    "proxy.httpsProxy": {"proxy": {"httpsProxy": "http://$(TOKEN)@proxy"}},
    "proxy.noProxy.0": {"proxy": {"noProxy": ["a,b"]}},
    "images.registry": {"images": {"registry": "https://registry.example.com"}},
    "images.pullSecrets.0": {"images": {"pullSecrets": ["My Key"]}},
    "topologySpread.a b.[key]": {"topologySpread": {"a b": {}}},
    "topologySpread.zone.maxSkew": {"topologySpread": {"zone": {"maxSkew": 0}}},
    "cpuResources.ephemeralStorage": {"cpuResources": {"ephemeralStorage": "much"}},
    "pools.p.ephemeralStorage": {"pools": {"p": {"gpusPerNode": 0, "ephemeralStorage": "2 Gi"}}},
    "pools.p.runtimeClassName": {"pools": {"p": {"gpusPerNode": 0, "runtimeClassName": "NVIDIA"}}},
}  # fmt: skip


@pytest.mark.parametrize("field", REFUSED)
def test_settings_refuse_strings_that_the_api_server_refuses_in_a_pod(field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(REFUSED[field])
    (error,) = caught.value.errors()
    assert ".".join(str(part) for part in error["loc"]) == field


def test_the_scenario_sets_every_setting_that_shapes_pods() -> None:
    same = {name for name in Settings.model_fields if getattr(EVERY_SETTING, name) == getattr(Settings(), name)}
    assert same == {
        "ray_version",
        "storage",
        "policy",
        "watch_namespaces",
        "max_active_jobs_per_namespace",
        "on_restore",
        "node_lost_seconds",
        "scale_up_grace_seconds",
        "resync_seconds",
        "port",
        "rbac",
        "propagate_labels",  # by way of the run's status
    }
