"""First-seen times: since when an object has been in a state, by our own clock, since other clocks may be wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field

_FORGET_SECONDS = 3600.0


@dataclass(slots=True)
class Sightings:
    """A short-lived cache of states by object; a replica that starts to lead sees each for the first time."""

    clock: Callable[[], float]
    _seen: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """By object: the time at which its state began by another clock, and when we first and last saw it so."""
    _swept: float = 0.0

    def since(self, name: str, stamp: float) -> float:
        """Return when we first saw an object in the state that began at `stamp` by another clock."""
        now = self.clock()
        known, first, _ = self._seen.get(name, (stamp, now, now))
        first = first if known == stamp else now
        self._seen[name] = (stamp, first, now)
        if now - self._swept > _FORGET_SECONDS:
            self._swept = now
            self._seen = {name: one for name, one in self._seen.items() if now - one[-1] <= _FORGET_SECONDS}
        return first
