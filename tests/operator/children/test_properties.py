"""What holds for every spec, every pool and every attempt."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.chain import STAGES
from kubedistill.errors import InvalidInput
from kubedistill.manifest.settings import Pool
from kubedistill.placement.quantities import number
from kubedistill_operator.children.attempt import build_children, check_children
from kubedistill_operator.children.network import network_variables
from kubedistill_operator.children.pods import CACHE_VARIABLES
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.names import child_name
from support.child_scenarios import (
    EVERY_SETTING,
    SETTINGS,
    build_child,
    gpus,
    make_request,
    read_spec,
    stage_job,
    templates,
)

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
LONGEST = st.from_regex(r"[a-z][-a-z0-9]{30}[a-z0-9]", fullmatch=True)
STAGE = st.sampled_from(sorted(STAGES))
POOLS = st.builds(
    Pool,
    node_selector=st.just({"pool": "mine"}), gpus_per_node=st.integers(0, 16),
    cpu_per_gpu=st.floats(0.1, 64), host_memory_per_gpu=st.sampled_from(["4Gi", "64Gi", "1.5Gi", "30000M"]),
)  # fmt: skip
USER_LABELS = st.dictionaries(st.sampled_from(["team", "example.com/cost"]), st.sampled_from(["a", ""]))
USER_ANNOTATIONS = st.dictionaries(st.sampled_from(["note", "example.com/note"]), st.text("aä:{}", max_size=5))


@st.composite
def specs(draw: st.DrawFn, pool: Pool) -> dict[str, Any]:
    """Return specs that fit the pool named mine, as far as GPUs go."""
    room = pool.gpus_per_node
    model = {
        "source": "teacher",
        "tensorParallelSize": draw(st.integers(1, max(1, room))),
        "pipelineParallelSize": draw(st.integers(1, 4)) if room else 1,
    }
    place = {"pool": "mine"} if room else draw(st.sampled_from([{"pool": "mine"}, {}]))
    stage = st.sampled_from([{}, {"cpu": "3"}, {"memory": "6Gi"}, {"pool": "mine"}])
    return {
        "task": {"type": "QA"},
        "teachers": [{"name": "main", "model": model, "resources": {**place, "replicas": draw(st.integers(1, 8))}}],
        "student": {
            "model": {"source": "student"},
            "resources": {
                **place,
                "workers": draw(st.integers(1, 16)),
                "gpusPerWorker": draw(st.integers(0, min(room, 16))),
            },
        },
        "data": {"train": {"uri": "train.jsonl"}},
        "pods": {
            "labels": draw(USER_LABELS),
            "annotations": draw(USER_ANNOTATIONS),
            "envFromSecrets": draw(st.lists(st.sampled_from(["hub-token", "bucket-key"]), unique=True)),
            **draw(st.sampled_from([{}, {"serviceAccountName": "distiller"}])),
        },
        "stages": {draw(STAGE).lower(): draw(stage)},
        "queue": {"name": "research"},
    }


@st.composite
def requests(draw: st.DrawFn) -> ChildRequest:
    pool = draw(POOLS)
    job = stage_job(
        read_spec(draw(specs(pool))),
        draw(STAGE),
        job=draw(NAMES),
        attempt=draw(st.integers(1, 99)),
        run=draw(st.sampled_from(["1", "second"])),
    )
    return make_request(
        job,
        pools={"mine": pool},
        volume_claim=draw(st.sampled_from(["shared", None])),
        settings=draw(st.sampled_from([SETTINGS, EVERY_SETTING])),
    )


def asked_for(request: ChildRequest) -> int:
    """GPUs that the spec asks for at a stage."""
    teacher, student = request.spec.teachers[0], request.spec.student.resources
    override = getattr(request.spec.stages, request.stage.lower()).pool
    if request.stage == "Generate":
        if not request.pools["mine"].gpus_per_node or not (override or teacher.resources.pool):
            return 0
        return teacher.resources.replicas * teacher.model.tensor_parallel_size * teacher.model.pipeline_parallel_size
    if request.stage == "Train":
        return student.workers * student.gpus_per_worker
    return min(1, student.gpus_per_worker) if request.stage == "Evaluate" else 0


@given(requests())
def test_gpus_are_those_that_the_spec_asks_for_and_no_pod_outgrows_a_node(request: ChildRequest) -> None:
    child = build_child(request)
    assert gpus(child) == asked_for(request)
    for template in templates(child).values():
        for container in template["spec"]["containers"]:
            resources = container["resources"]
            assert int(resources["limits"].get("nvidia.com/gpu", "0")) <= request.pools["mine"].gpus_per_node
            assert resources["limits"].get("nvidia.com/gpu") == resources["requests"].get("nvidia.com/gpu")


@given(requests())
def test_ray_counts_the_resources_of_its_workers_pods(request: ChildRequest) -> None:
    cluster = build_child(request)["spec"].get("rayClusterSpec", {})
    for group in cluster.get("workerGroupSpecs", []):
        (container,) = group["template"]["spec"]["containers"]
        started, asked = group["rayStartParams"], container["resources"]["requests"]
        assert started["num-gpus"] == asked.get("nvidia.com/gpu", "0")
        assert 1 <= int(started["num-cpus"]) <= max(1, number(asked["cpu"]))
        assert 75 * 2**20 <= int(started["object-store-memory"]) <= number(asked["memory"]) / 4


@given(requests())
def test_every_container_says_what_it_needs_and_may_do_nothing_more(request: ChildRequest) -> None:
    for template in templates(build_child(request)).values():
        pod = template["spec"]
        chosen = request.settings.pod_security_context.model_dump(by_alias=True)
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **chosen,
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(
            kind in ("configMap", "persistentVolumeClaim", "emptyDir")
            for volume in pod.get("volumes", [])
            for kind in volume.keys() - {"name"}
        )
        for container in pod["containers"]:
            resources = container["resources"]
            assert number(resources["requests"]["cpu"]) > 0
            assert number(resources["requests"]["memory"]) == number(resources["limits"]["memory"]) > 0
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }


@given(requests())
def test_no_pod_but_the_drivers_may_talk_to_the_api_server(request: ChildRequest) -> None:
    found = templates(build_child(request))
    assert {role: one["spec"]["automountServiceAccountToken"] for role, one in found.items()} == {
        role: role == "driver" for role in found
    }


@given(requests())
def test_secrets_are_named_and_never_read(request: ChildRequest) -> None:
    """Variables are plain words of ours and the platform's; all else comes from Secrets, by their names."""
    secrets = [{"secretRef": {"name": name}} for name in request.spec.pods.env_from_secrets]
    for role, template in templates(build_child(request)).items():
        for container in template["spec"]["containers"]:
            variables = {one["name"]: one["value"] for one in container.get("env", [])}
            assert (
                variables.items()
                <= {
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "NVIDIA_VISIBLE_DEVICES": "void",
                    "KUBEDISTILL_CHANNEL": request.channel,
                    **network_variables(request.settings),
                    **CACHE_VARIABLES,
                }.items()
            )
            assert container.get("envFrom", []) == ([] if role == "submitter" else secrets)


@given(requests())
def test_objects_have_only_our_labels_and_the_labels_and_annotations_of_the_user(request: ChildRequest) -> None:
    ours = request.labels
    for one in build_children(request):
        labels = dict(one["metadata"]["labels"])
        assert labels.pop("kueue.x-k8s.io/queue-name", None) == ("research" if one["kind"] == request.kind else None)
        assert labels.items() <= ours.items()
        assert {"app.kubernetes.io/managed-by", "kubedistill.io/job-uid"} <= labels.keys()
        assert one["metadata"].keys() == {"name", "namespace", "labels", "ownerReferences"}
    for template in templates(build_child(request)).values():
        no_mesh = request.settings.mesh == "Disabled"
        label, annotation = {"sidecar.istio.io/inject": "false"}, {"linkerd.io/inject": "disabled"}
        metadata = template["metadata"]
        assert metadata["labels"] == {**(label if no_mesh else {}), **request.spec.pods.labels, **ours}
        annotations = {**(annotation if no_mesh else {}), **request.spec.pods.annotations}
        assert metadata.get("annotations", {}) == annotations


@given(requests())
def test_every_object_is_deleted_with_the_job_or_its_child_without_blocking_it(request: ChildRequest) -> None:
    for one in build_children(request):
        (owner,) = one["metadata"]["ownerReferences"]
        assert (owner["controller"], owner["blockOwnerDeletion"]) == (True, False)
        if one["kind"] in ("Role", "RoleBinding") or "job.json" in one.get("data", {}):
            assert (owner["kind"], owner["name"], owner["uid"]) == (request.kind, request.name, "")
        else:
            job = request.stage_job.job
            assert (owner["kind"], owner["name"], owner["uid"]) == ("DistillationJob", job.name, job.uid)


@given(requests())
def test_the_same_request_gives_the_same_objects_as_plain_json(request: ChildRequest) -> None:
    objects = build_children(request)
    assert json.loads(json.dumps(objects)) == list(objects)
    assert build_children(request) == objects


@given(requests())
def test_a_spec_that_is_valid_at_the_start_can_be_built_at_every_stage(request: ChildRequest) -> None:
    check_children(request.spec, namespace=request.namespace, pools=request.pools, create_service_accounts=True)
    for stage in STAGES:
        build_children(make_request(stage_job(request.spec, stage, job="a"), pools=request.pools))


@given(
    pool=POOLS, tensor=st.integers(1, 64), pipeline=st.integers(1, 8), per_worker=st.integers(0, 16),
    named=st.booleans(), stage=STAGE,
)  # fmt: skip
def test_pods_that_fit_no_node_are_refused_before_anything_is_built(
    pool: Pool, tensor: int, pipeline: int, per_worker: int, named: bool, stage: Any
) -> None:
    place = {"pool": "mine"} if named else {}
    spec = read_spec(
        {
            "task": {"type": "QA"},
            "data": {"train": {"uri": "a"}},
            "teachers": [
                {
                    "name": "main",
                    "resources": place,
                    "model": {"source": "a", "tensorParallelSize": tensor, "pipelineParallelSize": pipeline},
                }
            ],
            "student": {"model": {"source": "a"}, "resources": {**place, "gpusPerWorker": per_worker}},
        }
    )
    room = pool.gpus_per_node if named else 0
    teacher_fits = tensor <= room if room else tensor == pipeline == 1
    fits = teacher_fits and per_worker <= room
    request = make_request(stage_job(spec, stage, job="a"), pools={"mine": pool})
    if fits:
        build_children(request)
    else:
        with pytest.raises(InvalidInput) as caught:
            build_children(request)
        assert caught.value.at.startswith("spec.")
        assert caught.value.fix


@given(job=LONGEST, stage=STAGE, uid=st.uuids(), run=NAMES, attempt=st.integers(1, 10**6))
def test_names_suit_kuberay_however_long_the_jobs_is(job: str, stage: Any, uid: Any, run: str, attempt: int) -> None:
    name = child_name(job, stage, uid=str(uid), run=run, attempt=attempt)
    assert len(job) == 32
    assert len(name) <= 47
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)


@given(job=NAMES, uid=st.uuids(), stage=STAGE)
def test_every_attempt_has_a_name_of_its_own(job: str, uid: Any, stage: Any) -> None:
    attempts = [(run, attempt) for run in ("1", "second") for attempt in range(1, 31)]
    names = {child_name(job, stage, uid=str(uid), run=run, attempt=attempt) for run, attempt in attempts}
    assert len(names) >= len(attempts) - 1  # 25 bits: two of 60 meet once in 20,000 jobs
