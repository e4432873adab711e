"""What one reconcile decides: a plain value that the controller carries out, status first."""

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from kubedistill.v1alpha1 import Status
from kubedistill_operator.observed import Child

Manifest = dict[str, Any]
"""A Kubernetes object as JSON values."""


@dataclass(frozen=True, slots=True)
class Event:
    """One Kubernetes Event about the job; sent once, after the status that reports the same."""

    reason: str
    """CamelCase, with a verb in the past tense for what has happened: StageStarted, StageSucceeded, AttemptFailed, …"""
    message: str
    type: Literal["Normal", "Warning"] = "Normal"
    about: str = ""
    """Distinguishes it from other Events with its reason at the same stage and attempt; empty if there are none."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """An object to delete, if it still is the one that was seen."""

    kind: str
    name: str
    uid: str

    @classmethod
    def of(cls, child: Child) -> Self:
        """Return the deletion of a child as it was seen."""
        return cls(child.kind, child.name, child.uid)


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A request to the current driver to save and stop."""

    channel: str
    """Name of the attempt's `-out` ConfigMap."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Carried out in this order: status, deletions, stop, creations, events. An empty Plan is a fixed point."""

    status: Status | None = None
    """The complete new status; None if it does not change."""
    delete: tuple[Deletion, ...] = ()
    stop: StopRequest | None = None
    create: tuple[Manifest, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    """Seconds until the next reconcile of the job, even if nothing happens."""
    why: tuple[str, ...] = field(default=(), compare=False)
    """The decisions in words, for `explain`."""
