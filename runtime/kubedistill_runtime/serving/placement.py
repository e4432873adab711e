"""Where the engine's actor runs: anywhere on one machine; in a cluster on its workers, never on the head.

A head lends Ray neither cores nor GPUs, so an actor that asks for any is on a worker.
"""

import logging
import time
from typing import TYPE_CHECKING

from kubedistill.errors import EngineLost

if TYPE_CHECKING:
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

log = logging.getLogger(__name__)

Options = dict[str, "float | PlacementGroupSchedulingStrategy"]
"""Options of a Ray actor."""
ANYWHERE: Options = {"num_cpus": 0}
"""On one machine nothing is reserved: engine and training never work at the same time."""
_LOOK_SECONDS, _PATIENCE_SECONDS = 1.0, 600.0


def on_workers(gpus: int, *, seconds: float = _PATIENCE_SECONDS) -> Options:
    """Options of an actor whose engine takes so many GPUs, where the workers have any, else all cores of one worker.

    A second driver may be faster than the workers, which joined the first one's head. Raises EngineLost where none
    has come after so many seconds.
    """
    worker = _await_worker(seconds)
    if not worker.get("GPU"):
        return {"num_cpus": worker["CPU"]}
    if gpus == 1:
        return {"num_cpus": 0, "num_gpus": 1}
    from ray.util import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    # The engine starts a process for each GPU, in the group that its own actor is in; PACK fills pod after pod.
    group = placement_group([{"GPU": 1}] * gpus, strategy="PACK")
    inside = PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )
    return {"num_cpus": 0, "scheduling_strategy": inside}


def _await_worker(seconds: float) -> dict[str, float]:
    """The resources of the largest worker."""
    import ray

    until = time.monotonic() + seconds
    while not (found := [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]):
        if time.monotonic() > until:
            raise EngineLost(
                f"no worker has joined this Ray cluster in {seconds:.0f} s", at="Ray", fix="Look at the worker's pod"
            )
        log.info("waiting for a worker of the Ray cluster")
        time.sleep(_LOOK_SECONDS)
    return max(found, key=lambda one: (one.get("GPU", 0), one["CPU"]))
