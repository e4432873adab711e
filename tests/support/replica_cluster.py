"""Replicas on a Ray cluster of two nodes with 8 declared GPUs each; prints what happened as JSON.

It runs in a process of its own, since Ray has one session in each.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from ray.util import placement_group_table
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from kubedistill.contract import StageProgress
from kubedistill.json_values import JsonObject
from kubedistill_runtime.answers import decode_answers
from kubedistill_runtime.chat import load_chat_format, load_stop_ids
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.serving.placement import START_SECONDS, reserve
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.batches import answer_rows, collect_answers
from kubedistill_runtime.teachers.cache import AnswerCache, make_rows
from kubedistill_runtime.teachers.conversation import Generator
from support.job_folder import QUICKSTART

ROWS = 1000
_RECORDS = [Record(f"r{number}", (Message("user", f"The app stopped {number} times"),)) for number in range(ROWS)]


def answer(
    name: str, *, folder: Path, engines: LocalEngines, replicas: int, lanes: int, disturb: Callable[[], None]
) -> JsonObject:
    """Answer the rows in a store of their own; `disturb` is called once, when some are answered."""
    teacher = _find_teacher(folder)
    cache = AnswerCache(Store(folder / name), "k" * 64)
    rows = make_rows(_RECORDS, key=cache.key, samples=1)
    disturbed, said = False, list[StageProgress]()
    progress = Progress(said.append, gpus=engines.gpus)

    def report(done: int, _tokens: int) -> None:
        nonlocal disturbed
        progress.loading("answers")
        if not disturbed and 0 < done < ROWS:
            disturbed = True
            disturb()

    stop_ids = load_stop_ids(teacher)
    serving = Serving(teacher, max_model_len=128, stop_ids=stop_ids, replicas=replicas, lanes=lanes)
    progress.loading("the engine")
    with engines.open(serving, worked=progress.generated) as engine:
        generator = Generator(engine, load_chat_format(teacher, at="teacher"), Sampling(1.0, max_tokens=8), 128, seed=3)
        answer_rows(rows, cache=cache, generator=generator, report=report)
    shards = [decode_answers(cache.store.read(shard)) for shard in cache.store.names(f"rows/{cache.key}")]
    spent = progress.spent()
    return {
        "ids": [list(one.answer.turns[0].completion_ids) for one in collect_answers(rows, cache=cache)],
        "stored": sorted(one.row_key for shard in shards for one in shard),
        "disturbed": disturbed,
        "gpus": [message.gpus for message in said],
        "seconds": progress.seconds(),
        "gpuSeconds": spent.gpu_seconds,
        "idleGpuSeconds": spent.idle_gpu_seconds,
        "groups": _live_groups(),
    }


def probe(gpus: int) -> JsonObject:
    """Run a task in each bundle of a place; return the nodes and the GPUs that they have."""
    place = reserve(gpus)
    place.wait(seconds=START_SECONDS)

    @ray.remote(num_gpus=1, num_cpus=0)
    def tell() -> tuple[str, list[int]]:
        return ray.get_runtime_context().get_node_id(), ray.get_gpu_ids()

    strategies = [
        PlacementGroupSchedulingStrategy(place.group, placement_group_bundle_index=bundle) for bundle in range(gpus)
    ]
    told = ray.get([tell.options(scheduling_strategy=strategy).remote() for strategy in strategies], timeout=60)
    place.release()
    nodes = list(dict.fromkeys(node for node, _ in told))
    return {"nodes": [nodes.index(node) for node, _ in told], "gpus": sorted(str(one) for one in told)}


def _find_teacher(folder: Path) -> Model:
    store = Store(folder / "models")
    return find_model("teacher", trust_remote_code=False, data_root=QUICKSTART, store=store, at="teacher")


def _live_groups() -> int:
    return sum(group["state"] != "REMOVED" for group in placement_group_table().values())


def main(folder: Path) -> None:
    """Start the cluster, and run all cases."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=4, num_gpus=8) for _ in range(2)]
    os.environ["RAY_ADDRESS"] = cluster.address
    engines = LocalEngines(leftovers=folder / "none", ahead=False)
    engines.start_ray()

    def kill_second() -> None:
        os.kill(ray.get(engines.actor(replica=1).process_id.remote()), signal.SIGKILL)

    def remove_first_node() -> None:
        where = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
        held = {node for group in placement_group_table().values() for node in group["bundles_to_node_id"].values()}
        cluster.remove_node(next(node for node in nodes if node.node_id in held and node.node_id in where))

    def nothing() -> None:
        pass

    found = {
        "TP 4 x PP 2": probe(8),
        "TP 4 x PP 4": probe(16),
        "one": answer("one", folder=folder, engines=engines, replicas=1, lanes=1, disturb=nothing),
        "killed": answer("killed", folder=folder, engines=engines, replicas=2, lanes=1, disturb=kill_second),
        "removed": answer("removed", folder=folder, engines=engines, replicas=2, lanes=2, disturb=remove_first_node),
    }
    engines.close()
    sys.stdout.write(json.dumps({**found, "groups at the end": _live_groups()}) + "\n")
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
