"""Placement of the engine's actor: anywhere on one machine; in a cluster on its workers, never on the head.

A head offers Ray neither cores nor GPUs, so an actor that requests any runs on a worker.
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
"""On one machine nothing is reserved, since the engine and the training never run at the same time."""
_POLL_SECONDS, _TIMEOUT_SECONDS = 1.0, 600.0


def worker_options(gpus: int, *, seconds: float = _TIMEOUT_SECONDS) -> Options:
    """Return actor options for an engine with this number of GPUs, or with all cores of a worker if it has no GPUs.

    Wait for the workers: after a restart of the driver they may still have to join the new head. Raises EngineLost if
    none has joined after `seconds`.
    """
    worker = _await_worker(seconds)
    if not worker.get("GPU"):
        return {"num_cpus": worker["CPU"]}
    if gpus == 1:
        return {"num_cpus": 0, "num_gpus": 1}
    from ray.util import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    # The engine starts a process for each GPU in the placement group of its actor; PACK fills one pod after another.
    group = placement_group([{"GPU": 1}] * gpus, strategy="PACK")
    inside = PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )
    return {"num_cpus": 0, "scheduling_strategy": inside}


def _await_worker(seconds: float) -> dict[str, float]:
    """Wait for a worker, and return the resources of the largest one."""
    import ray

    until = time.monotonic() + seconds
    while not (found := [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]):
        if time.monotonic() > until:
            raise EngineLost(
                f"no worker has joined this Ray cluster in {seconds:.0f} s", at="Ray", fix="Check the worker's pod"
            )
        log.info("waiting for a worker of the Ray cluster")
        time.sleep(_POLL_SECONDS)
    return max(found, key=lambda one: (one.get("GPU", 0), one["CPU"]))
