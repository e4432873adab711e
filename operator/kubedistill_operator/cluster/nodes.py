"""Nodes: a cache of the nodes that pods run on; each node is read at most every few seconds."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.optional_right import OptionalRight
from kubedistill_operator.cluster.pod_reading import Node, read_node
from kubedistill_operator.cluster.sightings import Sightings

_FRESH_SECONDS = 15.0
_ABSENT = 0.0
"""In place of a time at which a node became NotReady."""


@dataclass(slots=True)
class Nodes:
    """A short-lived cache of nodes; a node that is absent or NotReady counts as lost since it was first seen so."""

    cluster: Cluster
    clock: Callable[[], float]
    right: OptionalRight
    """The right to read nodes."""
    sightings: Sightings
    _known: dict[str, tuple[float, Node]] = field(default_factory=dict)

    async def read(self, names: Iterable[str]) -> dict[str, Node]:
        """Return the nodes by name; empty if they may not be read."""
        wanted = sorted({name for name in names if name})
        if not wanted or not self.right.may_ask:
            return {}
        found = await self.right.ask(asyncio.gather(*(self._read(name) for name in wanted)))
        return dict(zip(wanted, found, strict=True)) if found is not None else {}

    async def _read(self, name: str) -> Node:
        now = self.clock()
        seen, node = self._known.get(name, (0.0, Node()))
        if now - seen < _FRESH_SECONDS:
            return node
        resource = await self.cluster.get("Node", name)
        node = read_node(resource) if resource is not None else Node(lost_since=_ABSENT)
        if node.lost_since is not None:  # dated by another machine
            node = replace(node, lost_since=self.sightings.since(f"node {name}", node.lost_since))
        self._forget_old(now)
        self._known[name] = (now, node)
        return node

    def _forget_old(self, now: float) -> None:
        for name in [name for name, (seen, _) in self._known.items() if now - seen > 100 * _FRESH_SECONDS]:
            del self._known[name]
