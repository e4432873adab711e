"""Attempts of every stage and kind, and the files that say what objects each of them gets.

Whoever changes what is built reads the difference and writes the files again with COMMAND.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kubedistill.canonical import text_digest
from kubedistill.chain import STAGES, StageName
from kubedistill.contract import JobRef, RunRef, StageJob
from kubedistill.manifest.loading import load_manifest
from kubedistill.manifest.settings import Rbac, Settings
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill_operator.children.attempt import build_children
from kubedistill_operator.children.pods import config_map_folders
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.names import attempt_token, child_name, service_account_name
from kubedistill_operator.plan import Manifest

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "operator" / "children" / "golden"
COMMAND = "PYTHONPATH=tests .venv/bin/python -m support.child_scenarios"
ELIDED = "(the StageJob, which has a test of its own)"
ELIDED_DIGEST = "sha256-of-job.json"
UID = "5a1f1c1e-7c0e-4b53-9f0e-2f1d3a5b7c90"

_NVIDIA_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
SETTINGS = Settings.model_validate_json(
    json.dumps(
        {
            "pools": {
                "h200": {
                    "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H200"}, "tolerations": [_NVIDIA_TAINT],
                    "memoryPerGpu": "141Gi", "cpuPerGpu": 12, "hostMemoryPerGpu": "128Gi",
                },
                "h100": {
                    "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}, "tolerations": [_NVIDIA_TAINT],
                    "scratch": {"size": "2Ti", "storageClass": "local-nvme"},
                    "hostMemoryPerGpu": "128Gi",
                },
                "a100": {
                    "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}, "tolerations": [_NVIDIA_TAINT],
                },
                "l4-spot": {
                    "nodeSelector": {
                        "cloud.google.com/gke-accelerator": "nvidia-l4", "cloud.google.com/gke-spot": "true",
                    },
                    "tolerations": [
                        _NVIDIA_TAINT,
                        {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"},
                    ],
                    "gpusPerNode": 4, "memoryPerGpu": "24Gi", "cpuPerGpu": 7.5, "hostMemoryPerGpu": "30Gi",
                },
                "cpu": {
                    "nodeSelector": {"pool": "cpu"}, "gpusPerNode": 0, "cpuPerGpu": 16, "hostMemoryPerGpu": "48Gi",
                },
            },
        }
    )
)  # fmt: skip

EVERY_SETTING = Settings.model_validate_json(
    json.dumps(
        {
            "pools": {
                "gpu": {
                    "nodeSelector": {"nvidia.com/gpu.present": "true"}, "tolerations": [_NVIDIA_TAINT],
                    "ephemeralStorage": "100Gi", "runtimeClassName": "nvidia",
                    "env": {"NCCL_SOCKET_IFNAME": "eth1"}, "resources": {"rdma/hca": 1},
                },
            },
            "cpuResources": {"cpu": "500m", "memory": "4Gi", "ephemeralStorage": "2Gi"},
            "cpuLimits": "AsRequested",
            "podSecurityContext": {
                "runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "fsGroupChangePolicy": "Always",
            },
            "topologySpread": {
                "kubernetes.io/hostname": {}, "topology.kubernetes.io/zone": {
                    "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule",
                },
            },
            "schedulerName": "volcano",
            "proxy": {
                "httpProxy": "http://proxy.example.com:3128", "httpsProxy": "http://proxy.example.com:3129",
                "noProxy": [".example.com", "10.0.0.0/8"],
            },
            "caBundle": {"configMap": "company-ca", "key": "ca-bundle.crt"},
            "images": {"registry": "registry.example.com/mirror", "pullSecrets": ["company", "registry"]},
            "submissionMode": "K8sJobMode",
            "mesh": "Inherit",
        }
    )
)  # fmt: skip
"""Every setting that shapes pods, with a value that is not its default."""
_EVERY: dict[str, Any] = {
    "settings": EVERY_SETTING, "pools": EVERY_SETTING.pools, "images": EVERY_SETTING.images,
}  # fmt: skip

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scenario:
    """An example's job at one stage, with parts of its spec replaced and other settings."""

    example: str
    stage: StageName
    spec: Values = field(default_factory=dict)
    request: Values = field(default_factory=dict)


SCENARIOS: dict[str, Scenario] = {
    "prepare-quickstart": Scenario("quickstart", "Prepare"),
    "prepare-from-config-maps": Scenario(
        "quickstart", "Prepare",
        {
            "data": {
                "train": {"configMapKeyRef": {"name": "prompts", "key": "train.jsonl"}},
                "test": {"configMapKeyRef": {"name": "prompts", "key": "test.jsonl"}},
                "validation": {"configMapKeyRef": {"name": "more-prompts", "key": "validation.jsonl"}},
            }
        },
    ),
    "generate-deepseek-on-two-replicas": Scenario("deepseek-v3-to-phi-4-mini", "Generate"),
    "generate-deepseek-with-a-model-cache": Scenario(
        "deepseek-v3-to-phi-4-mini", "Generate", {"modelCache": {"volumeClaim": "models", "path": "hub"}}
    ),
    "generate-llama-405b-on-two-nodes": Scenario("llama-405b-to-3b", "Generate"),
    "generate-quickstart-on-cpu": Scenario("quickstart", "Generate"),
    "generate-on-spot": Scenario(
        "quickstart", "Generate",
        {
            "teachers": [
                {
                    "name": "router", "resources": {"pool": "l4-spot", "replicas": 3},
                    "model": {"source": "teacher", "tensorParallelSize": 2},
                }
            ],
            "queue": {"name": "research"},
        },
    ),
    "generate-in-k8s-job-mode": Scenario(
        "llama-405b-to-3b", "Generate",
        {"pods": {"imagePullSecrets": ["registry"], "envFromSecrets": ["hub-token"]}},
        {"settings": SETTINGS.model_copy(update={"submission_mode": "K8sJobMode"})},
    ),
    "generate-with-every-setting": Scenario(
        "quickstart", "Generate",
        {
            "teachers": [
                {"name": "router", "resources": {"pool": "gpu", "replicas": 2}, "model": {"source": "teacher"}}
            ],
            "pods": {"imagePullSecrets": ["registry", "own"], "envFromSecrets": ["hub-token"]},
        },
        _EVERY,
    ),
    "prepare-with-every-setting": Scenario("quickstart", "Prepare", request=_EVERY),
    "curate-in-a-queue": Scenario(
        "quickstart", "Curate", {"queue": {"name": "research", "priorityClass": "low"}}
    ),
    "curate-on-a-pool": Scenario(
        "quickstart", "Curate", {"stages": {"curate": {"pool": "cpu", "memory": "96Gi"}}}
    ),
    "train-on-eight-workers": Scenario("deepseek-v3-to-phi-4-mini", "Train"),
    "train-quickstart-in-the-driver": Scenario(
        "quickstart", "Train", {"student": {"model": {"source": "student"}, "resources": {"pool": "cpu"}}}
    ),
    "train-on-cpu-workers": Scenario(
        "quickstart", "Train",
        {
            "student": {"model": {"source": "student"}, "resources": {"pool": "cpu", "workers": 4}},
            "stages": {"train": {"cpu": "500m", "memory": "4Gi"}},
        },
    ),
    "evaluate-llama-3b": Scenario("llama-405b-to-3b", "Evaluate"),
    "evaluate-quickstart-on-cpu": Scenario("quickstart", "Evaluate"),
    "export-with-workload-identity": Scenario(
        "deepseek-v3-to-phi-4-mini", "Export",
        {
            "storage": {"uri": "s3://models/support"},
            "pods": {
                "serviceAccountName": "distiller", "imagePullSecrets": ["registry"], "envFromSecrets": ["hub-token"],
                "labels": {"team": "support"}, "annotations": {"example.com/cost-centre": "4711"},
                "priorityClassName": "batch",
            },
        },
        {"volume_claim": None, "settings": SETTINGS.model_copy(update={"rbac": Rbac(create_service_accounts=False)})},
    ),
}  # fmt: skip


def read_spec(values: Values) -> Spec:
    return Spec.model_validate_json(json.dumps(values), by_alias=True, by_name=False)


def example_spec(example: str, changes: Values) -> Spec:
    """Return an example's spec with some of its parts replaced."""
    spec = load_manifest(ROOT / "examples" / example / "job.yaml").spec
    return read_spec({**spec_values(spec), **changes})


def stage_job(spec: Spec, stage: StageName, *, job: str, attempt: int = 1, run: str = "1") -> StageJob:
    """Return what the driver of an attempt is told."""
    needed = [name for one in STAGES.values() for name in one.makes] if stage != "Prepare" else []
    child = child_name(job, stage, uid=UID, run=run, attempt=attempt)
    return StageJob(
        job=JobRef(namespace="team-a", name=job, uid=UID),
        run=RunRef(id=run, digest="d" * 64),
        stage=stage,
        attempt=attempt,
        token=attempt_token(child, uid=UID),
        frozen_spec=spec_values(spec),
        store="file:///kubedistill/storage",
        data_root="file:///kubedistill/storage",
        config_maps=config_map_folders(spec),
        artifacts={name: name[:1] * 64 for name in needed},
    )


def make_request(job: StageJob, **changes: Any) -> ChildRequest:
    """Return a request under the settings above."""
    values: dict[str, Any] = {
        "pools": SETTINGS.pools,
        "images": SETTINGS.images,
        "queue": job.spec.queue,
        "volume_claim": "shared",
        "account": service_account_name(job.job.name, uid=job.job.uid),
        "settings": SETTINGS,
    }
    return ChildRequest(stage_job=job, **{**values, **changes})


def request_of(name: str) -> ChildRequest:
    """Return the request of a scenario."""
    one = SCENARIOS[name]
    spec = example_spec(one.example, one.spec)
    job = load_manifest(ROOT / "examples" / one.example / "job.yaml").metadata.name
    return make_request(stage_job(spec, one.stage, job=job), **one.request)


def build_child(request: ChildRequest) -> Manifest:
    """Return the RayJob or Job of an attempt."""
    return next(one for one in build_children(request) if one["kind"] == request.kind)


def templates(child: Manifest) -> dict[str, Manifest]:
    """Return the pod templates of a RayJob or Job, by role; the driver's is "driver"."""
    spec = child["spec"]
    if child["kind"] == "Job":
        return {"driver": spec["template"]}
    cluster = spec["rayClusterSpec"]
    found = {"driver": cluster["headGroupSpec"]["template"]}
    found |= {group["groupName"]: group["template"] for group in cluster.get("workerGroupSpecs", [])}
    return found | ({"submitter": spec["submitterPodTemplate"]} if "submitterPodTemplate" in spec else {})


def gpus(child: Manifest, resource: str = "nvidia.com/gpu") -> int:
    """GPUs that all pods of a child ask for."""
    counts = {"driver": 1, "submitter": 1}
    groups = child["spec"].get("rayClusterSpec", {}).get("workerGroupSpecs", [])
    counts |= {group["groupName"]: group["replicas"] for group in groups}
    return sum(
        counts[role] * int(container["resources"]["limits"].get(resource, "0"))
        for role, template in templates(child).items()
        for container in template["spec"]["containers"]
    )


def render(name: str) -> str:
    """Return a scenario's objects as YAML, in the order in which they are made."""
    objects = json.loads(json.dumps(build_children(request_of(name))))
    (told,) = [one["data"] for one in objects if "job.json" in one.get("data", {})]
    digest, told["job.json"] = text_digest(told["job.json"]), ELIDED
    return yaml.safe_dump_all(objects, sort_keys=False, width=120).replace(digest, ELIDED_DIGEST)


def write_files() -> None:
    """Write the files again, and remove those of scenarios that no longer exist."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for file in GOLDEN.glob("*.yaml"):
        if file.stem not in SCENARIOS:
            file.unlink()
    for name in SCENARIOS:
        (GOLDEN / f"{name}.yaml").write_text(render(name), encoding="utf-8")


if __name__ == "__main__":
    write_files()
