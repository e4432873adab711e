"""Placement of the engine's actor: anywhere on one machine; in a cluster on its workers, never on the head.

A head offers Ray neither cores nor GPUs, so an actor that requests any runs on a worker.
"""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubedistill.errors import EngineLost

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

log = logging.getLogger(__name__)

Options = dict[str, "float | PlacementGroupSchedulingStrategy"]
"""Options of a Ray actor."""
ANYWHERE: Options = {"num_cpus": 0}
"""On one machine nothing is reserved, since the engine and the training never run at the same time."""
START_SECONDS = 600.0
"""How long to wait for the workers of a cluster."""
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """What is reserved for an engine."""

    options: Options
    group: "PlacementGroup | None" = None
    """None on one machine."""

    def wait(self, *, seconds: float) -> None:
        """Wait until everything is reserved: after the loss of a node, only if others have room; else EngineLost."""
        if self.group is not None and not self.group.wait(seconds):
            raise EngineLost(
                f"this Ray cluster had no room for an engine for {seconds:.0f} s", at="Ray", fix="Check its workers"
            )

    def release(self) -> None:
        """Give back what is reserved."""
        if self.group is not None:
            from ray.util import remove_placement_group

            remove_placement_group(self.group)


def reserve(gpus: int, *, seconds: float = START_SECONDS) -> Place:
    """Return a place for an engine with this number of GPUs, or with all cores of a worker if it has no GPUs.

    Wait for the workers: after a restart of the driver they may still have to join the new head. Raises EngineLost if
    none has joined after `seconds`.
    """
    worker = _await_worker(seconds)
    if not worker.get("GPU"):
        return _reserve([{"CPU": worker["CPU"]}], num_cpus=worker["CPU"], num_gpus=0)
    # An engine with several GPUs starts a process for each of them in the placement group of its actor.
    return _reserve([{"GPU": 1.0}] * gpus, num_cpus=0, num_gpus=1 if gpus == 1 else 0)


def _reserve(bundles: list[dict[str, float]], *, num_cpus: float, num_gpus: float) -> Place:
    """Reserve bundles; PACK fills one pod after another, so neighbors, which share layers, are in one pod."""
    from ray.util import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = placement_group(bundles, strategy="PACK")
    inside = PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )
    return Place({"num_cpus": num_cpus, "num_gpus": num_gpus, "scheduling_strategy": inside}, group)


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
