"""The channel between the driver and rank 0: progress in one direction, a request to stop in the other."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ray.actor import ActorHandle


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest step, the number of steps, and figures."""

    step: int = 0
    steps: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    signs: int = 0
    """How often rank 0 said that it computes; a step or a validation may take minutes."""


class ProgressChannel(Protocol):
    """The channel that the driver and rank 0 share."""

    def publish(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Publish the latest step; returns whether to stop."""
        ...

    def note_work(self) -> None:
        """Say that rank 0 computes."""
        ...

    def read(self) -> Latest:
        """Return the latest progress."""
        ...

    def stop(self) -> None:
        """Request the workers to save and stop."""
        ...


class LocalChannel:
    """A channel to a worker that is a thread of this process."""

    def __init__(self) -> None:
        self._latest = Latest()
        self._stopping = False

    def publish(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Publish the latest step; returns whether to stop."""
        self._latest = replace(self._latest, step=step, steps=steps, figures=figures)
        return self._stopping

    def note_work(self) -> None:
        """Say that rank 0 computes."""
        self._latest = replace(self._latest, signs=self._latest.signs + 1)

    def read(self) -> Latest:
        """Return the latest progress."""
        return self._latest

    def stop(self) -> None:
        """Request the worker to save and stop."""
        self._stopping = True


class RemoteChannel:
    """A channel to workers in other processes: a LocalChannel in a Ray actor, which ends when its handles are gone."""

    def __init__(self) -> None:
        import ray

        self._actor: ActorHandle = ray.remote(num_cpus=0)(LocalChannel).remote()

    def publish(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Publish the latest step; returns whether to stop."""
        import ray

        stopping: bool = ray.get(self._actor.publish.remote(step, steps, figures))
        return stopping

    def note_work(self) -> None:
        """Say that rank 0 computes, without waiting for the driver."""
        self._actor.note_work.remote()

    def read(self) -> Latest:
        """Return the latest progress."""
        import ray

        latest: Latest = ray.get(self._actor.read.remote())
        return latest

    def stop(self) -> None:
        """Request the workers to save and stop."""
        import ray

        ray.get(self._actor.stop.remote())
