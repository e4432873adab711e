"""On a real Ray cluster: the engine's actor takes what the workers have, and is never on the head."""

import json
import subprocess
import sys

import pytest

# In a process of its own: Ray has one session in each, and that of the other tests is not a cluster.
SCRIPT = """
import json, os, sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from kubedistill.errors import EngineLost
from kubedistill_runtime.serving.placement import reserve
from kubedistill_runtime.serving.session import LocalEngines

workers, gpus = json.loads(sys.argv[1]), int(sys.argv[2])
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "include_dashboard": False})
ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
try:
    reserve(gpus, seconds=0)
except EngineLost as error:
    lost = str(error)
nodes = [cluster.add_node(**worker) for worker in workers]

class Actor:
    def tell(self):
        context = ray.get_runtime_context()
        group = ray.util.get_current_placement_group()
        return context.get_node_id(), context.get_assigned_resources(), group and group.bundle_specs

actor = ray.remote(**reserve(gpus).options)(Actor).remote()
node, resources, bundles = ray.get(actor.tell.remote(), timeout=60)
print(json.dumps({
    "worker": [one.node_id for one in nodes].index(node) if node != cluster.head_node.node_id else None,
    "resources": {name: amount for name, amount in resources.items() if name in ("CPU", "GPU")}, "bundles": bundles,
    "lost": lost, "gpus": LocalEngines(leftovers=Path("none"), ahead=False).gpus(),
}))
ray.shutdown()
cluster.shutdown()
"""
CPUS = [{"num_cpus": 3}]
GPUS = [{"num_cpus": 8, "num_gpus": 2}, {"num_cpus": 8, "num_gpus": 2}]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("workers", "gpus", "resources", "bundles"),
    [
        pytest.param(CPUS, 1, {"CPU": 3.0}, [{"CPU": 3.0}], id="all cores of a worker"),
        pytest.param(GPUS[:1], 1, {"GPU": 1.0}, [{"GPU": 1.0}], id="one GPU"),
        pytest.param(GPUS, 4, {}, [{"GPU": 1.0}] * 4, id="a group of GPUs over two pods"),
    ],
)
def test_the_engine_takes_what_the_workers_have(
    workers: list[dict[str, int]], gpus: int, resources: dict[str, float], bundles: list[dict[str, float]]
) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(workers), str(gpus)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["lost"] == "Ray: no worker has joined this Ray cluster in 0 s. Check the worker's pod"
    assert found["worker"] is not None, "it is on the head"
    assert found["resources"] == resources
    assert found["bundles"] == bundles
    assert found["gpus"] == sum(worker.get("num_gpus", 0) for worker in workers), "what the cluster holds is paid for"
