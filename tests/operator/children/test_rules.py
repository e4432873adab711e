"""The rules of design section 5 for children, on the objects of every scenario."""

import dataclasses
import hashlib
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from kubedistill.contract import StageJob
from kubedistill.errors import InvalidManifest
from kubedistill.stored import read_stored
from kubedistill.v1alpha1 import Queue, Spec, spec_values
from kubedistill_operator.children.attempt import build_children
from kubedistill_operator.children.pods import config_map_folders
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.names import service_account_name
from support.child_scenarios import (
    SCENARIOS,
    SETTINGS,
    UID,
    Manifest,
    build_child,
    make_request,
    read_spec,
    request_of,
    stage_job,
    templates,
)

RAYJOBS = [name for name in SCENARIOS if request_of(name).kind == "RayJob"]
JOBS = [name for name in SCENARIOS if request_of(name).kind == "Job"]


def child(request: ChildRequest) -> Manifest:
    return build_child(request)


def driver_command(name: str) -> list[str]:
    """Return the command of a scenario's driver, with the digest of the bytes that it is to be told."""
    (told,) = [one["data"]["job.json"] for one in build_children(request_of(name)) if "job.json" in one.get("data", {})]
    job = ["python", "-m", "kubedistill_runtime", "--job", "/kubedistill/job/job.json"]
    return [*job, "--job-sha256", hashlib.sha256(told.encode()).hexdigest()]


def keys(value: Any) -> Iterator[str]:
    """Yield every key of every mapping."""
    if isinstance(value, list):
        for one in value:
            yield from keys(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from keys(one)


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("Prepare", "Job"), ("Generate", "RayJob"), ("Curate", "Job"), ("Train", "RayJob"), ("Evaluate", "RayJob"),
        ("Export", "Job"),
    ],
)  # fmt: skip
def test_stages_with_accelerators_are_rayjobs(stage: str, kind: str) -> None:
    found = {child(request_of(name))["kind"] for name, scenario in SCENARIOS.items() if scenario.stage == stage}
    assert found == {kind}


@pytest.mark.parametrize("name", SCENARIOS)
def test_objects_are_created_in_the_order_of_their_dependencies(name: str) -> None:
    request = request_of(name)
    kinds = [one["kind"] for one in build_children(request)]
    account = ["ServiceAccount"] if request.spec.pods.service_account_name is None else []
    assert kinds == [*account, request.kind, "Role", "RoleBinding", "ConfigMap", "ConfigMap"]
    last = build_children(request)[-1]["metadata"]["name"]
    mounted = templates(child(request))["driver"]["spec"]["volumes"]
    assert last in [(one.get("configMap") or {}).get("name") for one in mounted], "its driver waits for the last"


@pytest.mark.parametrize("name", RAYJOBS)
def test_rayjob_is_tried_once_and_leaves_deadlines_to_the_operator(name: str) -> None:
    spec = child(request_of(name))["spec"]
    assert shlex.split(spec["entrypoint"]) == driver_command(name)
    assert (spec["backoffLimit"], spec["shutdownAfterJobFinishes"]) == (0, True)
    assert 0 < spec["ttlSecondsAfterFinished"] <= 60
    assert spec["preRunningDeadlineSeconds"] == request_of(name).spec.scheduling_timeout_seconds
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    forbidden = {
        "clusterSelector",
        "deletionStrategy",
        "activeDeadlineSeconds",
        "runtimeEnvYAML",
        "suspend",
        "jobId",
        "enableInTreeAutoscaling",
        "autoscalerOptions",
        "gcsFaultToleranceOptions",
    }
    assert not forbidden & set(keys(spec))


@pytest.mark.parametrize("name", JOBS)
def test_job_is_tried_once_and_stays_until_the_operator_deletes_it(name: str) -> None:
    spec = child(request_of(name))["spec"]
    assert (spec["backoffLimit"], spec["completions"], spec["parallelism"]) == (0, 1, 1)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert not {"ttlSecondsAfterFinished", "activeDeadlineSeconds", "suspend"} & spec.keys()
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == driver_command(name)


@pytest.mark.parametrize("name", RAYJOBS)
def test_head_runs_the_driver_and_no_worker(name: str) -> None:
    cluster = child(request_of(name))["spec"]["rayClusterSpec"]
    parameters = cluster["headGroupSpec"]["rayStartParams"]
    assert (parameters["num-cpus"], parameters["num-gpus"]) == ("0", "0")
    pod = cluster["headGroupSpec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Always"
    assert not [key for key in keys(pod["containers"]) if "gpu" in key]


@pytest.mark.parametrize("name", SCENARIOS)
def test_containers_that_request_no_gpu_are_given_none_by_nvidias_runtime(name: str) -> None:
    for template in templates(child(request_of(name))).values():
        (container,) = template["spec"]["containers"]
        asked = any("gpu" in resource for resource in container["resources"]["limits"])
        variables = {one["name"]: one["value"] for one in container.get("env", [])}
        assert variables.get("NVIDIA_VISIBLE_DEVICES") == (None if asked else "void")


@pytest.mark.parametrize("name", RAYJOBS)
def test_workers_are_of_a_fixed_number_and_never_restart_in_place(name: str) -> None:
    for group in child(request_of(name))["spec"]["rayClusterSpec"].get("workerGroupSpecs", []):
        assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] >= 1
        assert group["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("name", RAYJOBS)
def test_ports_are_named_as_monitors_look_for_them(name: str) -> None:
    ports = {
        role: {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0].get("ports", [])}
        for role, template in templates(child(request_of(name))).items()
    }
    metrics = {"metrics": 8080, "as-metrics": 44217, "dash-metrics": 44227}
    assert ports.pop("driver") == {"gcs-server": 6379, "dashboard": 8265, **metrics}
    ports.pop("submitter", None)
    assert all(found == {"metrics": 8080} for found in ports.values())


@pytest.mark.parametrize("name", RAYJOBS)
def test_shared_memory_holds_the_object_store_and_fits_into_the_pod(name: str) -> None:
    cluster = child(request_of(name))["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])):
        pod = group["template"]["spec"]
        (volume,) = [one["emptyDir"] for one in pod["volumes"] if one["name"] == "shared-mem"]
        (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/dev/shm"]
        assert mount["name"] == "shared-mem"
        assert volume["medium"] == "Memory"
        size = int(volume["sizeLimit"].removesuffix("Mi")) * 2**20
        memory = int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
        assert int(group["rayStartParams"]["object-store-memory"]) < size <= memory / 2


@pytest.mark.parametrize("mode", ["HTTPMode", "K8sJobMode"])
def test_only_k8s_job_mode_has_a_submitter(mode: str) -> None:
    settings = SETTINGS.model_copy(update={"submission_mode": mode})
    request = dataclasses.replace(request_of("generate-in-k8s-job-mode"), settings=settings)
    spec = child(request)["spec"]
    assert spec["submissionMode"] == mode
    assert ("submitterPodTemplate" in spec) == (mode == "K8sJobMode")


def test_submitter_sees_neither_secrets_nor_store_nor_job() -> None:
    pod = templates(child(request_of("generate-in-k8s-job-mode")))["submitter"]["spec"]
    (container,) = pod["containers"]
    assert not {"envFrom", "volumeMounts", "command"} & container.keys()
    assert container["env"] == [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]
    assert "volumes" not in pod
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("name", SCENARIOS)
def test_workers_have_the_store_and_only_the_driver_has_job_and_channel(name: str) -> None:
    request = request_of(name)
    for role, template in templates(child(request)).items():
        (container,) = template["spec"]["containers"]
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        variables = {one["name"] for one in container.get("env", [])}
        assert ("job" in mounts) == ("KUBEDISTILL_CHANNEL" in variables) == (role == "driver")
        assert ("storage" in mounts) == (request.volume_claim is not None and role != "submitter")


def test_config_maps_of_the_data_are_mounted_where_the_driver_reads_them() -> None:
    request = request_of("prepare-from-config-maps")
    (container,) = templates(child(request))["driver"]["spec"]["containers"]
    volumes = {one["name"]: one for one in templates(child(request))["driver"]["spec"]["volumes"]}
    mounted = {
        volumes[mount["name"]]["configMap"]["name"]: (mount["mountPath"], mount["readOnly"])
        for mount in container["volumeMounts"]
        if mount["name"].startswith("data-")
    }
    assert mounted == {name: (folder, True) for name, folder in request.stage_job.config_maps.items()}
    assert set(mounted) == {"prompts", "more-prompts"}


@pytest.mark.parametrize("name", ["generate-on-spot", "curate-in-a-queue"])
def test_queue_is_named_on_the_child_and_on_nothing_else(name: str) -> None:
    request = dataclasses.replace(request_of(name), queue=Queue(name="team-a.gpu", priority_class="high"))
    job = child(request)
    others = [one for one in build_children(request) if one != job]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a.gpu"
    assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "high"
    assert "kueue" not in str([*others, job["spec"]])


def test_queue_is_that_of_now_and_not_the_frozen_one() -> None:
    frozen = request_of("curate-in-a-queue")
    assert "kueue" not in str(child(dataclasses.replace(frozen, queue=None)))


def test_pools_send_workers_to_their_nodes_and_the_driver_away_from_gpus() -> None:
    found = templates(child(request_of("generate-on-spot")))
    worker, driver = found["teacher"]["spec"], found["driver"]["spec"]
    assert worker["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4",
        "cloud.google.com/gke-spot": "true",
        "kubernetes.io/os": "linux",
    }
    assert worker["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    ]
    assert (driver["nodeSelector"], "tolerations" in driver) == ({"kubernetes.io/os": "linux"}, False)
    wishes = driver["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    unwanted = {one["preference"]["matchExpressions"][0]["key"]: one["preference"] for one in wishes}
    assert unwanted.keys() == {
        "cloud.google.com/gke-accelerator",
        "cloud.google.com/gke-spot",
        "nvidia.com/gpu.product",
    }
    assert all(one["matchExpressions"][0]["operator"] == "NotIn" for one in unwanted.values())


def test_without_pools_of_gpus_there_is_nothing_to_keep_away_from() -> None:
    request = dataclasses.replace(request_of("prepare-quickstart"), pools={})
    assert "affinity" not in templates(child(request))["driver"]["spec"]


def test_workload_identity_is_the_same_account_on_every_pod() -> None:
    spec = read_spec({**spec_values(request_of("generate-on-spot").spec), "pods": {"serviceAccountName": "distiller"}})
    found = templates(child(make_request(stage_job(spec, "Generate", job="quickstart"))))
    assert {role: one["spec"]["serviceAccountName"] for role, one in found.items()} == {
        "driver": "distiller",
        "teacher": "distiller",
    }


def test_service_account_is_the_same_object_for_every_attempt() -> None:
    spec = request_of("prepare-quickstart").spec
    accounts = [
        build_children(make_request(stage_job(spec, stage, job="quickstart", attempt=attempt, run=run)))[0]
        for stage, attempt, run in (("Prepare", 1, "1"), ("Train", 7, "next"))
    ]
    assert accounts[0] == accounts[1]
    assert accounts[0]["metadata"]["name"] == service_account_name("quickstart", uid=UID)


@pytest.mark.parametrize("name", ["../../etc", "..", "a/b"])
def test_no_name_of_a_configmap_leads_out_of_their_folder(name: str) -> None:
    """An earlier CRD took them, and a run that it froze may have one."""
    spec = spec_values(request_of("prepare-quickstart").spec)
    data = {"train": {"configMapKeyRef": {"name": name, "key": "train.jsonl"}}}
    with pytest.raises(InvalidManifest) as caught:
        config_map_folders(read_stored(Spec, {**spec, "data": data}))
    assert caught.value.at == "spec.data: configMapKeyRef.name"


def test_labels_of_a_user_never_hide_a_pod_from_the_operator() -> None:
    found = templates(child(request_of("export-with-workload-identity")))["driver"]["metadata"]
    assert found["labels"]["team"] == "support"
    assert found["labels"].items() >= request_of("export-with-workload-identity").labels.items()
    assert found["annotations"]["example.com/cost-centre"] == "4711"


def test_gpu_resource_of_another_vendor_is_counted_for_ray_too() -> None:
    request = request_of("generate-on-spot")
    pool = request.pools["l4-spot"].model_copy(update={"gpu_resource": "vendor.example/accelerator"})
    (group,) = child(dataclasses.replace(request, pools={**request.pools, "l4-spot": pool}))["spec"]["rayClusterSpec"][
        "workerGroupSpecs"
    ]
    assert group["rayStartParams"]["num-gpus"] == "2"
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["vendor.example/accelerator"] == "2"


@pytest.mark.parametrize(
    ("mesh", "own", "label", "annotation"),
    [
        ("Disabled", {}, "false", "disabled"),
        ("Inherit", {}, None, None),
        ("Disabled", {"labels": {"sidecar.istio.io/inject": "true"}}, "true", "disabled"),
        ("Disabled", {"annotations": {"linkerd.io/inject": "enabled"}}, "false", "enabled"),
    ],
)
@pytest.mark.parametrize("scenario", ["prepare-quickstart", "generate-in-k8s-job-mode"])
def test_a_mesh_puts_no_sidecar_into_pods_unless_settings_or_job_say_so(
    scenario: str, mesh: str, own: dict[str, Any], label: str | None, annotation: str | None
) -> None:
    request = request_of(scenario)
    job = request.stage_job.model_copy(update={"frozen_spec": {**request.stage_job.frozen_spec, "pods": own}})
    settings = request.settings.model_copy(update={"mesh": mesh})
    request = dataclasses.replace(request, stage_job=StageJob.model_validate_json(job.to_json()), settings=settings)
    for template in templates(child(request)).values():
        assert template["metadata"]["labels"].get("sidecar.istio.io/inject") == label
        assert template["metadata"].get("annotations", {}).get("linkerd.io/inject") == annotation


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_driver_finds_its_job_among_the_owners_of_its_channel(scenario: str) -> None:
    """What is not there for a minute tells it that the job is gone: runtime's ConfigMapChannel leaves then."""
    request = request_of(scenario)
    (channel,) = [one for one in build_children(request) if one["metadata"]["name"] == request.channel]
    assert [owner["uid"] for owner in channel["metadata"]["ownerReferences"]] == [request.stage_job.job.uid]


@pytest.mark.parametrize("name", ["prepare-quickstart", "generate-quickstart-on-cpu"])
def test_an_image_of_0_1_is_given_no_option_that_it_does_not_know(name: str) -> None:
    assert "--job-sha256" not in str(child(dataclasses.replace(request_of(name), checks_job=False)))


SOURCES = {"configMap", "persistentVolumeClaim", "emptyDir", "ephemeral"}
"""What pods mount: objects that Kubernetes looks for or makes in the pod's own namespace, and memory."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_that_is_made_for_a_job_names_another_namespace(name: str) -> None:
    for one in build_children(request_of(name)):
        assert one["metadata"]["namespace"] == "team-a"
        assert {subject["namespace"] for subject in one.get("subjects", ())} <= {"team-a"}
    for template in templates(child(request_of(name))).values():
        pod = template["spec"]
        assert {source for volume in pod.get("volumes", ()) for source in volume.keys() - {"name"}} <= SOURCES
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "nodeName"}
