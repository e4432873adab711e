"""The channel between the driver and rank 0: the progress of the training one way, and the wish to stop the other."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ray.actor import ActorHandle

News = tuple[int, int, dict[str, float]]
"""The latest step, the number of steps, and figures."""


class ProgressChannel(Protocol):
    """What the driver and rank 0 share."""

    def publish(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Write the latest step; returns whether to stop."""
        ...

    def read(self) -> News:
        """The latest news."""
        ...

    def stop(self) -> None:
        """Ask the workers to save and leave."""
        ...


class LocalChannel:
    """A channel to a worker that is a thread of this process."""

    def __init__(self) -> None:
        self._news: News = (0, 0, {})
        self._stopping = False

    def publish(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Write the latest step; returns whether to stop."""
        self._news = (step, steps, figures)
        return self._stopping

    def read(self) -> News:
        """The latest news."""
        return self._news

    def stop(self) -> None:
        """Ask the worker to save and leave."""
        self._stopping = True


class RemoteChannel:
    """A channel to workers in other processes: a LocalChannel in a Ray actor, which ends with its last handle."""

    def __init__(self) -> None:
        import ray

        self._actor: ActorHandle = ray.remote(num_cpus=0)(LocalChannel).remote()

    def publish(self, step: int, steps: int, figures: dict[str, float]) -> bool:
        """Write the latest step; returns whether to stop."""
        import ray

        stopping: bool = ray.get(self._actor.publish.remote(step, steps, figures))
        return stopping

    def read(self) -> News:
        """The latest news."""
        import ray

        news: News = ray.get(self._actor.read.remote())
        return news

    def stop(self) -> None:
        """Ask the workers to save and leave."""
        import ray

        ray.get(self._actor.stop.remote())
