"""Downloads of weights to the machines that load them: this one, or nodes of a Ray cluster, which share no cache."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from kubedistill_runtime.hub import Report
from kubedistill_runtime.models import Model
from kubedistill_runtime.weights import materialize

if TYPE_CHECKING:
    from ray.actor import ActorHandle

_REPORT_SECONDS = 1.0


def materialize_for_actor(model: Model, actor: "ActorHandle", *, report: Report) -> Path:
    """Return the folder of a model's weights where an engine's actor and its workers run; raises as materialize."""
    import ray

    if model.hub is None or "RAY_ADDRESS" not in os.environ:
        return materialize(model, report=report)
    return _materialize_on(ray.get(actor.nodes.remote()), model, report=report)


def materialize_for_workers(model: Model, *, report: Report) -> None:
    """Have a model's weights where training workers run: on each node of the cluster that has cores, or here."""
    if model.hub is None or "RAY_ADDRESS" not in os.environ:
        materialize(model, report=report)
        return
    import ray

    workers = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    _materialize_on(workers, model, report=report)


def nodes_of_this_actor() -> list[str]:
    """Return the ids of the nodes that hold the calling actor and, if it has a placement group, its workers."""
    import ray
    from ray.util import get_current_placement_group, placement_group_table

    group = get_current_placement_group()
    if group is None:
        return [ray.get_runtime_context().get_node_id()]
    return sorted(set(placement_group_table(group)["bundles_to_node_id"].values()))


def _materialize_on(nodes: Sequence[str], model: Model, *, report: Report) -> Path:
    """Download on all nodes at the same time, and report the sum; the folder is the same on each."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    download = ray.remote(num_cpus=0, max_retries=0)(_download)
    streams = [
        download.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(model)
        for node in nodes
    ]
    latest, folder = [(0, 0)] * len(streams), Path()
    for messages in zip_longest(*streams):
        for place, message in enumerate(messages):
            if message is None:  # this node is done
                continue
            found: tuple[int, int] | str = ray.get(message)
            if isinstance(found, str):
                folder = Path(found)
            else:
                latest[place] = found
        report(sum(done for done, _ in latest), sum(total for _, total in latest))
    return folder


def _download(model: Model) -> Iterator[tuple[int, int] | str]:
    """Yield the bytes on this machine and the bytes in all while they are downloaded, and then the folder."""
    latest = (0, 0)

    def report(done: int, total: int) -> None:
        nonlocal latest
        latest = (done, total)

    with ThreadPoolExecutor(max_workers=1) as waiter:
        running = waiter.submit(materialize, model, report=report)
        while wait([running], timeout=_REPORT_SECONDS).not_done:
            yield latest
        yield latest
        yield str(running.result())
