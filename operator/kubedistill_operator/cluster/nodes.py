"""Nodes: what is known of those that pods are on; each is asked for at most every few seconds."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.failures import Refused
from kubedistill_operator.cluster.pod_reading import Node, read_node

_FRESH_SECONDS, _REFUSED_SECONDS = 15.0, 600.0


@dataclass(slots=True)
class Nodes:
    """A short memory of nodes; a node that is absent counts as lost since it was first missed."""

    cluster: Cluster
    clock: Callable[[], float]
    allowed: bool = True
    """Whether nodes may be looked at."""
    _refused: float = float("-inf")
    """When the server last said no."""
    _known: dict[str, tuple[float, Node]] = field(default_factory=dict)
    _missed: dict[str, float] = field(default_factory=dict)

    async def look_at(self, names: Iterable[str]) -> dict[str, Node]:
        """Nodes by name; empty where they may not be looked at."""
        wanted = sorted({name for name in names if name})
        if not self.allowed or not wanted or self.clock() < self._refused + _REFUSED_SECONDS:
            return {}
        try:
            found = await asyncio.gather(*(self._look_at(name) for name in wanted))
        except Refused:  # the role is optional; or the server has just started, and does not know our roles yet
            self._refused = self.clock()
            return {}
        return dict(zip(wanted, found, strict=True))

    async def _look_at(self, name: str) -> Node:
        now = self.clock()
        seen, node = self._known.get(name, (0.0, Node()))
        if now - seen < _FRESH_SECONDS:
            return node
        resource = await self.cluster.get("Node", name)
        if resource is None:
            node = Node(lost_since=self._missed.setdefault(name, now))
        else:
            self._missed.pop(name, None)
            node = read_node(resource)
        self._forget_old(now)
        self._known[name] = (now, node)
        return node

    def _forget_old(self, now: float) -> None:
        for name in [name for name, (seen, _) in self._known.items() if now - seen > 100 * _FRESH_SECONDS]:
            del self._known[name]
            self._missed.pop(name, None)
