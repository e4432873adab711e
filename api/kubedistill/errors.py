"""The error tree: every failure that a person can meet, with its machine-readable reason and cause.

A bad manifest, bad data or a bad model is an InvalidInput: nothing was started. A StageFailed began its work.
"""

from typing import ClassVar

from kubedistill.printing import printable

EXIT_SUCCESS, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_GATE, EXIT_UNTOLD, EXIT_CLAIM_LOST = 0, 1, 2, 3, 69, 75


class KubedistillError(Exception):
    """A failure with the place it happened (field path or file:line), what is wrong and the fix."""

    reason: ClassVar[str] = "InternalError"
    """The class's name, unless it says another."""
    cause: ClassVar[str] = "failure"
    exit_code: ClassVar[int] = EXIT_FAILED

    def __init_subclass__(cls) -> None:
        if "reason" not in vars(cls):
            cls.reason = cls.__name__

    def __init__(self, problem: str, *, at: str = "", fix: str = "") -> None:
        super().__init__(problem, at, fix)
        self.problem, self.at, self.fix = problem, at, fix

    def __str__(self) -> str:
        place = f"{self.at}: " if self.at else ""
        remedy = f". {self.fix}" if self.fix else ""
        return printable(f"{place}{self.problem}{remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        # Ray carries errors between processes by pickle, which knows nothing of keyword-only arguments.
        return (_rebuild, (type(self), self.problem, self.at, self.fix))


def _rebuild(kind: type[KubedistillError], problem: str, at: str, fix: str) -> KubedistillError:
    return kind(problem, at=at, fix=fix)


class InvalidInput(KubedistillError, ValueError):
    """Bad manifest, data or model: nothing was started, exit 2."""

    cause = "user"
    exit_code = EXIT_BAD_INPUT


class InvalidManifest(InvalidInput):
    """A field of the DistillationJob."""


class InvalidData(InvalidInput):
    """A record or a data file."""


class InvalidModel(InvalidInput):
    """A model folder that can't be used."""


class TokenizerMismatch(InvalidInput):
    """An objective that needs one tokenizer, and two are there."""


class ModelDoesNotFit(InvalidInput):
    """A model larger than the place it must run in."""


class BadCredentials(InvalidInput):
    """A token that is refused, or is needed and not there."""


class UnknownPool(InvalidInput):
    """A pool that the operator's settings don't have."""


class PoolNotAllowed(InvalidInput):
    """A pool that is not for the job's namespace."""


class PolicyViolated(InvalidInput):
    """What the operator's settings allow no job."""


class InvalidPool(InvalidInput):
    """A pool that Kubernetes would refuse in a pod."""


class TooFewGPUs(InvalidInput):
    """More GPUs in one pod than a node of its pool has."""


class NoCluster(InvalidInput):
    """No kubeconfig, or no such context in it."""


class NotInstalled(InvalidInput):
    """A cluster that lacks the CRD of DistillationJobs, or of what the operator needs."""


class NotAllowed(InvalidInput):
    """A user who may not do that."""


class NoSuchJob(InvalidInput):
    """A job that is not there."""


class Rejected(InvalidInput):
    """A manifest that the API server does not take."""


class Conflict(InvalidInput):
    """A job that somebody else writes, or that runs."""


class NotAvailable(InvalidInput):
    """A report or log that is not there, or not to be had from here."""


class StageFailed(KubedistillError, RuntimeError):
    """The work began and could not end, exit 1."""

    reason = "UserCodeError"


class LowYield(StageFailed):
    """Too few answers survived."""

    cause = "user"


class MissingDependency(StageFailed):
    """A compiler, library or package that the image or environment lacks."""

    cause = "user"


class ArtifactMissing(StageFailed):
    """What an earlier stage made is gone from the store, or part of it."""

    cause = "none"


class StorageUnavailable(StageFailed):
    """The store is full or gone."""

    cause = "infrastructure"


class StorageNotWritable(StorageUnavailable):
    """The store refuses this process; only a change of its rights or mount helps."""

    cause = "user"


class HubUnavailable(StageFailed):
    """The model hub can't be reached, or answers with an error of its own."""

    cause = "infrastructure"


class ChannelUnavailable(StageFailed):
    """The API server can't be told how the stage is doing."""

    cause = "infrastructure"
    exit_code = EXIT_UNTOLD


class EngineLost(StageFailed):
    """The inference engine died under us."""

    cause = "infrastructure"


class TrainingFailed(StageFailed):
    """The training loop raised."""


class JobFailed(StageFailed):
    """A job that was waited for, exit 1."""


class GateMissed(JobFailed):
    """Its student was not good enough, exit 3."""

    cause = "user"
    reason = "EvaluationGate"
    exit_code = EXIT_GATE


class ClusterUnavailable(KubedistillError, OSError):
    """The API server does not answer, exit 1."""

    cause = "infrastructure"


class WaitTimeout(KubedistillError, TimeoutError):
    """A job that took longer than it was waited for, exit 1."""

    cause = "none"


class Stopped(KubedistillError):
    """Asked to leave; the state is saved, exit 1."""

    cause = "none"


class StoreBusy(KubedistillError):
    """Another run holds this job's lock, exit 1."""

    cause = "none"


class ClaimLost(KubedistillError):
    """Another driver owns this attempt, exit 75."""

    cause = "none"
    exit_code = EXIT_CLAIM_LOST
