"""On a real Ray cluster: weights are downloaded on the nodes that load them, which share no cache with the driver."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.job_folder import write_model
from support.local_hub import LocalHub, serve_hub

# In a process of its own: Ray has one session in each, and that of the other tests is not a cluster.
SCRIPT = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from kubedistill.errors import KubedistillError
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.hub import find_commit
from kubedistill_runtime.root_cause import find_root_cause
from kubedistill_runtime.serving.downloads import (
    materialize_for_actor, materialize_for_workers, nodes_of_this_actor
)
from kubedistill_runtime.serving.placement import reserve
from kubedistill_runtime.storage.store import Store

root, gpus, source = Path(sys.argv[1]), int(sys.argv[2]), "hf://organization/name"
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "include_dashboard": False})
ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
os.environ["RAY_ADDRESS"] = cluster.address
for name in ("one", "two"):
    cluster.add_node(num_cpus=1, num_gpus=2, env_vars={"HF_HOME": str(root / name)})
commit = find_commit("organization/name", revision=None, at="x", fetch=True)
model = find_model(source, commit=commit, trust_remote_code=False, data_root=root, store=Store(root / "store"), at="x")

class Actor:
    def nodes(self):
        return nodes_of_this_actor()

reports, error = [], None
try:
    if gpus:
        actor = ray.remote(**reserve(gpus).options)(Actor).remote()
        materialize_for_actor(model, actor, report=lambda *one: reports.append(one))
    else:
        materialize_for_workers(model, report=lambda *one: reports.append(one))
except Exception as caught:
    error = type(find_root_cause(caught)).__name__
print(json.dumps({"reports": reports, "error": error}))
ray.shutdown()
cluster.shutdown()
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    write_model(tmp_path / "model", size=1000)
    with serve_hub() as hub:
        hub.repository("organization/name").push_folder(tmp_path / "model")
        yield hub


def run(hub: LocalHub, root: Path, *, gpus: int) -> dict[str, object]:
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(root / "driver")}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(root), str(gpus)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: dict[str, object] = json.loads(ran.stdout.splitlines()[-1])
    return found


def homes(root: Path) -> set[str]:
    """Return the nodes whose cache has the weights."""
    return {path.relative_to(root).parts[0] for path in root.glob("*/hub/*/snapshots/*/model.safetensors")}


@pytest.mark.engine
@pytest.mark.parametrize("gpus", [4, 0], ids=["an engine in two pods", "two workers"])
def test_each_node_that_loads_the_weights_downloads_them(gpus: int, hub: LocalHub, tmp_path: Path) -> None:
    found = run(hub, tmp_path, gpus=gpus)
    assert found["error"] is None
    assert homes(tmp_path) == {"one", "two"}, "and not the driver's"
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert 2 * size <= hub.sent["model.safetensors"] <= 3 * size, "the driver reads the header"
    assert isinstance(found["reports"], list)
    done, total = found["reports"][-1]
    assert done == total >= 2 * size


@pytest.mark.engine
def test_what_the_hub_refuses_a_node_is_the_error_of_the_job(hub: LocalHub, tmp_path: Path) -> None:
    hub.refused.add("model.safetensors")
    assert run(hub, tmp_path, gpus=1)["error"] == "BadCredentials"
    assert homes(tmp_path) == set()
