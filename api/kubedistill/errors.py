"""The error tree: every failure that a user can see, with its machine-readable reason and cause.

An InvalidInput is found before anything starts: a bad manifest, bad data or a bad model. A StageFailed has started.
"""

from typing import ClassVar

from kubedistill.printing import printable

EXIT_SUCCESS, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_GATE, EXIT_UNREPORTED, EXIT_CLAIM_LOST = 0, 1, 2, 3, 69, 75
EXIT_BAD_JOB = 78
"""A driver found its work invalid before it had a channel; 2 also means a wrong option, or work that was replaced."""


class KubedistillError(Exception):
    """A failure: where it happened (field path or file:line), what is wrong, and the fix."""

    reason: ClassVar[str] = "InternalError"
    """By default, the name of the class."""
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
        # Ray sends errors between processes with pickle, which does not support keyword-only arguments.
        return (_rebuild, (type(self), self.problem, self.at, self.fix))


def _rebuild(kind: type[KubedistillError], problem: str, at: str, fix: str) -> KubedistillError:
    return kind(problem, at=at, fix=fix)


class InvalidInput(KubedistillError, ValueError):
    """Invalid input, found before anything started; exit code 2."""

    cause = "user"
    exit_code = EXIT_BAD_INPUT


class InvalidManifest(InvalidInput):
    """A field of the DistillationJob is wrong."""


class InvalidData(InvalidInput):
    """A record or a data file is wrong."""


class InvalidModel(InvalidInput):
    """A model can't be used."""


class TokenizerMismatch(InvalidInput):
    """The objective needs one tokenizer, but teacher and student have different ones."""


class ModelDoesNotFit(InvalidInput):
    """A model needs more memory than there is."""


class BadCredentials(InvalidInput):
    """A token was refused, or a required token is missing."""


class UnknownPool(InvalidInput):
    """The operator's settings have no pool of this name."""


class PoolNotAllowed(InvalidInput):
    """Jobs of this namespace may not use the pool."""


class PolicyViolated(InvalidInput):
    """The operator's settings do not allow this."""


class InvalidPool(InvalidInput):
    """Kubernetes would refuse a pod with a string of this pool."""


class TooFewGPUs(InvalidInput):
    """A pod needs more GPUs than a node of its pool has."""


class NoCluster(InvalidInput):
    """There is no kubeconfig, or no such context in it."""


class NotInstalled(InvalidInput):
    """The cluster has no CRD of DistillationJobs, or lacks another CRD that the operator needs."""


class NotAllowed(InvalidInput):
    """The user has no permission to do this."""


class NoSuchJob(InvalidInput):
    """The job does not exist."""


class Rejected(InvalidInput):
    """The API server rejects the manifest."""


class Conflict(InvalidInput):
    """Another manager writes the job, or the job is running."""


class NotAvailable(InvalidInput):
    """A report or log does not exist, or can't be read from this machine."""

    reason = "NotKept"  # programs compare it


class StageFailed(KubedistillError, RuntimeError):
    """A stage started and failed; exit code 1."""

    reason = "UserCodeError"


class LowYield(StageFailed):
    """Too few prompts were answered, or too few answers kept."""

    cause = "user"


class MissingDependency(StageFailed):
    """The image or environment lacks a compiler, library or package."""

    cause = "user"


class ArtifactMissing(StageFailed):
    """An artifact of an earlier stage is missing from the store, or incomplete."""

    cause = "none"


class StorageUnavailable(StageFailed):
    """The store is full or not available."""

    cause = "infrastructure"


class StorageNotWritable(StorageUnavailable):
    """This process has no permission to write the store."""

    cause = "user"


class HubUnavailable(StageFailed):
    """The model hub can't be reached, or answers with a server error."""

    cause = "infrastructure"


class EndpointUnavailable(StageFailed):
    """The endpoint of a teacher can't be reached, is busy, or answers with server errors."""

    cause = "infrastructure"


class QuotaExhausted(StageFailed):
    """The account of a teacher's endpoint has no credit left."""

    cause = "user"


class ChannelUnavailable(StageFailed):
    """The driver can't reach the API server to report its progress or result."""

    cause = "infrastructure"
    exit_code = EXIT_UNREPORTED


class EngineLost(StageFailed):
    """The inference engine died."""

    cause = "infrastructure"


class TrainingFailed(StageFailed):
    """The training loop raised an error."""


class JobFailed(StageFailed):
    """The job that the client waited for failed; exit code 1."""


class GateMissed(JobFailed):
    """The student missed a limit of the evaluation gate; exit code 3."""

    cause = "user"
    reason = "EvaluationGate"
    exit_code = EXIT_GATE


class ClusterUnavailable(KubedistillError, OSError):
    """The API server does not answer; exit code 1."""

    cause = "infrastructure"


class WaitTimeout(KubedistillError, TimeoutError):
    """The job took longer than the timeout of the client; exit code 1."""

    cause = "none"


class Stopped(KubedistillError):
    """The process was asked to stop, and has saved its state; exit code 1."""

    cause = "none"


class BudgetSpent(KubedistillError):
    """The run has spent spec.budget, and has saved its state; exit code 1."""

    cause = "none"


class StoreBusy(KubedistillError):
    """Another run holds the lock of this job; exit code 1."""

    cause = "none"


class ClaimLost(KubedistillError):
    """Another driver owns this attempt; exit code 75."""

    cause = "none"
    exit_code = EXIT_CLAIM_LOST
