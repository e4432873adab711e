"""Pools with strings that Kubernetes takes or refuses in a pod; tests/cluster asks a real API server about each."""

from dataclasses import dataclass
from typing import Any

from kubedistill.manifest.settings import Pool
from kubedistill.placement.layout import lay_out
from kubedistill.stored import read_stored
from kubedistill_operator.children.rayjob import build_rayjob
from kubedistill_operator.plan import Manifest
from support.child_scenarios import request_of, templates

_D253 = ".".join(["a" * 63] * 3 + ["a" * 61])
SCENARIO = "generate-on-spot"
"""A scenario of child_scenarios whose workers ask for GPUs of the pool below."""
NAME = "l4-spot"


@dataclass(frozen=True, slots=True)
class Row:
    """Fields of a pool, and the field that is refused; empty where they are fine."""

    pool: dict[str, Any]
    refused: str = ""


def _selects(key: str, value: str = "a", *, ok: bool = False) -> Row:
    return Row({"nodeSelector": {key: value}}, "" if ok else f"nodeSelector.{key}")


def _tolerates(field: str = "", **toleration: str) -> Row:
    return Row({"tolerations": [toleration]}, f"tolerations[0]{field and '.'}{field}" if field != "ok" else "")


ROWS: dict[str, Row] = {
    "a key with a space": _selects("x y"),
    "a value with a space": _selects("nvidia.com/gpu.product", "NVIDIA H200"),
    "a value with a slash": _selects("a", "b/c"),
    "a value of 64 characters": _selects("a", "b" * 64),
    "a value of 63 characters": _selects("a", "b" * 63, ok=True),
    "a value that ends in a dash": _selects("a", "b-"),
    "no value": _selects("a", "", ok=True),
    "a value in Cyrillic": _selects("a", "б"),
    "a value with a newline": _selects("a", "b\n"),
    "a key with two slashes": _selects("a/b/c"),
    "a key with an empty domain": _selects("/a"),
    "a key with an empty name": _selects("example.com/"),
    "a key with a domain in upper case": _selects("Example.com/a"),
    "a key with capitals and underscores": _selects("example.com/A_b.C-d", ok=True),
    "a key whose name has 64 characters": _selects("example.com/" + "a" * 64),
    "a key whose domain has 253 characters": _selects(f"{_D253}/a", ok=True),
    "a key whose domain has 254 characters": _selects(f"{_D253}a/a"),
    "an empty toleration": _tolerates(""),
    "a toleration of all": _tolerates("ok", operator="Exists"),
    "a toleration of all of an effect": _tolerates("ok", operator="Exists", effect="NoSchedule"),
    "a toleration of a value without a key": _tolerates("", value="a"),
    "Exists with a value": _tolerates("", key="a", operator="Exists", value="b"),
    "Exists with a value and no key": _tolerates("", operator="Exists", value="b"),
    "a toleration with a value": _tolerates("ok", key="example.com/a", value="b"),
    "a toleration of the empty value": _tolerates("ok", key="example.com/a"),
    "a toleration's key with a space": _tolerates("key", key="a b", value="b"),
    "a toleration's value with a space": _tolerates("value", key="a", value="b c"),
    "a resource with a space": Row({"gpuResource": "gpu here"}, "gpuResource"),
    "a resource without a domain": Row({"gpuResource": "gpu"}, "gpuResource"),
    "a resource with a space after its domain": Row({"gpuResource": "nvidia.com/gpu here"}, "gpuResource"),
    "a resource in upper case": Row({"gpuResource": "NVIDIA.com/gpu"}, "gpuResource"),
    "a quota's resource": Row({"gpuResource": "requests.nvidia.com/gpu"}, "gpuResource"),
    "a resource whose domain has 244 characters": Row({"gpuResource": f"{_D253[9:]}/gpu"}),
    "a resource whose domain has 245 characters": Row({"gpuResource": f"{_D253[8:]}/gpu"}, "gpuResource"),
    "a MIG device": Row({"gpuResource": "nvidia.com/mig-1g.10gb"}),
    "a runtime class in upper case": Row({"runtimeClassName": "NVIDIA"}, "runtimeClassName"),
    "memory with a space": Row({"hostMemoryPerGpu": "64 Gi"}, "hostMemoryPerGpu"),
    "half a byte": Row({"hostMemoryPerGpu": "500m"}),
    "disk in words": Row({"ephemeralStorage": "much"}, "ephemeralStorage"),
}

AT_BOUNDARY = ("runtimeClassName", "hostMemoryPerGpu", "ephemeralStorage")
"""Fields whose rule held in 0.1 already, so that no stored run breaks it."""


def values(row: Row) -> dict[str, Any]:
    """Return a pool as settings have it."""
    return {"nodeSelector": {"gpu": "l4"}, "gpusPerNode": 4} | row.pool


def worker(row: Row) -> Manifest:
    """Return a pod of the pool's workers as they would be made if nobody had looked at its strings."""
    request = request_of(SCENARIO)
    pool = read_stored(Pool, values(row))
    layout = lay_out(
        request.stage,
        request.spec,
        namespace=request.namespace,
        pools={NAME: pool},
        resources=request.settings.cpu_resources,
    )
    (template,) = [one for role, one in templates(build_rayjob(request, layout)).items() if role == "teacher"]
    spec = template["spec"] | {"serviceAccountName": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker"}, "spec": spec}
