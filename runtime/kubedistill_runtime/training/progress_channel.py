"""The channel between the driver and rank 0: progress in one direction, a request to stop in the other."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ray.actor import ActorHandle

Latest = tuple[int, int, dict[str, float]]
"""The latest step, the number of steps, and figures."""


class ProgressChannel(Protocol):
    """The channel that the driver and rank 0 share."""

    def publish(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Publish the latest step; returns whether to stop."""
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
        self._latest: Latest = (0, 0, {})
        self._stopping = False

    def publish(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Publish the latest step; returns whether to stop."""
        self._latest = (step, steps, figures)
        return self._stopping

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

    def read(self) -> Latest:
        """Return the latest progress."""
        import ray

        latest: Latest = ray.get(self._actor.read.remote())
        return latest

    def stop(self) -> None:
        """Request the workers to save and stop."""
        import ray

        ray.get(self._actor.stop.remote())
