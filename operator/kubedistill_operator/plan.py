"""What one reconcile decides: a plain value that the controller carries out, status first."""

from dataclasses import dataclass, field
from typing import Any, Literal, Self

from kubedistill.v1alpha1 import Status
from kubedistill_operator.observed import Child

Manifest = dict[str, Any]
"""A Kubernetes object as JSON values."""


@dataclass(frozen=True, slots=True)
class Event:
    """One Kubernetes Event about the job; sent once, when the status that tells the same was written."""

    reason: str
    """CamelCase, a verb in the past where something happened: StageStarted, StageSucceeded, AttemptFailed, …"""
    message: str
    type: Literal["Normal", "Warning"] = "Normal"
    about: str = ""
    """What tells it from others of its reason at the same stage and attempt of the job; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """An object to be deleted, if it still is the one that was seen."""

    kind: str
    name: str
    uid: str

    @classmethod
    def of(cls, child: Child) -> Self:
        """The deletion of a child as it was seen."""
        return cls(child.kind, child.name, child.uid)


@dataclass(frozen=True, slots=True)
class StopRequest:
    """The current driver is to be asked to save and leave."""

    channel: str
    """Name of the attempt's `-out` ConfigMap."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Carried out in this order: status, deletions, stop, creations, events. An empty Plan is a fixed point."""

    status: Status | None = None
    """The whole new status; None where it stays as it is."""
    delete: tuple[Deletion, ...] = ()
    stop: StopRequest | None = None
    create: tuple[Manifest, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    """Seconds until the job must be looked at again even if nothing happens."""
    why: tuple[str, ...] = field(default=(), compare=False)
    """The decisions in words, for `explain`."""
