"""The error tree: every failure that a person can meet, with its machine-readable reason and cause.

KubedistillError
├── InvalidInput (ValueError)      bad manifest, data or model: nothing was started, exit 2
│   ├── InvalidManifest            a field of the DistillationJob
│   ├── InvalidData                a record or a data file
│   ├── InvalidModel               a model folder that can't be used
│   ├── TokenizerMismatch          an objective that needs one tokenizer, and two are there
│   ├── ModelDoesNotFit            a model larger than the place it must run in
│   ├── BadCredentials             a token that is refused, or is needed and not there
│   ├── UnknownPool                a pool that the operator's settings don't have
│   ├── PoolNotAllowed             a pool that is not for the job's namespace
│   ├── InvalidPool                a pool that Kubernetes would refuse in a pod
│   ├── TooFewGPUs                 more GPUs in one pod than a node of its pool has
│   ├── NoCluster                  no kubeconfig, or no such context in it
│   ├── NotInstalled               a cluster that knows no DistillationJobs
│   ├── NotAllowed                 a user who may not do that
│   ├── NoSuchJob                  a job that is not there
│   ├── Rejected                   a manifest that the API server does not take
│   ├── Conflict                   a job that somebody else writes, or that runs
│   └── NotKept                    a report or log that is not there, or not to be had from here
├── StageFailed (RuntimeError)     the work began and could not end, exit 1
│   ├── LowYield                   too few answers survived
│   ├── MissingDependency          a compiler, library or package that the image or environment lacks
│   ├── ArtifactMissing            what an earlier stage made is gone from the store, or part of it
│   ├── StorageUnavailable         the store is full or gone
│   │   └── StorageNotWritable     the store refuses this process; only a change of its rights or mount helps
│   ├── ChannelUnavailable         the API server can't be told how the stage is doing
│   ├── EngineLost                 the inference engine died under us
│   ├── TrainingFailed             the training loop raised
│   └── JobFailed                  a job that was waited for, exit 1
│       └── GateMissed             its student was not good enough, exit 3
├── ClusterUnavailable (OSError)   the API server does not answer, exit 1
├── WaitTimeout (TimeoutError)     a job that took longer than it was waited for, exit 1
├── Stopped                        asked to leave; the state is saved, exit 1
├── StoreBusy                      another run holds this job's lock, exit 1
└── ClaimLost                      another driver owns this attempt, exit 75
"""

from typing import ClassVar

EXIT_SUCCESS, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_GATE, EXIT_CLAIM_LOST = 0, 1, 2, 3, 75


class KubedistillError(Exception):
    """A failure with the place it happened (field path or file:line), what is wrong and the fix."""

    reason: ClassVar[str] = "InternalError"
    cause: ClassVar[str] = "failure"
    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(self, problem: str, *, at: str = "", fix: str = "") -> None:
        super().__init__(problem, at, fix)
        self.problem, self.at, self.fix = problem, at, fix

    def __str__(self) -> str:
        place = f"{self.at}: " if self.at else ""
        remedy = f". {self.fix}" if self.fix else ""
        return f"{place}{self.problem}{remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Ray carries errors between processes by pickle, which knows nothing of keyword-only arguments.
        return (_rebuild, (type(self), self.problem, self.at, self.fix))


def _rebuild(kind: type[KubedistillError], problem: str, at: str, fix: str) -> KubedistillError:
    return kind(problem, at=at, fix=fix)


class InvalidInput(KubedistillError, ValueError):
    cause = "user"
    reason = "InvalidInput"
    exit_code = EXIT_BAD_INPUT


class InvalidManifest(InvalidInput):
    reason = "InvalidManifest"


class InvalidData(InvalidInput):
    reason = "InvalidData"


class InvalidModel(InvalidInput):
    reason = "InvalidModel"


class TokenizerMismatch(InvalidInput):
    reason = "TokenizerMismatch"


class ModelDoesNotFit(InvalidInput):
    reason = "ModelDoesNotFit"


class BadCredentials(InvalidInput):
    reason = "BadCredentials"


class UnknownPool(InvalidInput):
    reason = "UnknownPool"


class PoolNotAllowed(InvalidInput):
    reason = "PoolNotAllowed"


class InvalidPool(InvalidInput):
    reason = "InvalidPool"


class TooFewGPUs(InvalidInput):
    reason = "TooFewGPUs"


class NoCluster(InvalidInput):
    reason = "NoCluster"


class NotInstalled(InvalidInput):
    reason = "NotInstalled"


class NotAllowed(InvalidInput):
    reason = "NotAllowed"


class NoSuchJob(InvalidInput):
    reason = "NoSuchJob"


class Rejected(InvalidInput):
    reason = "Rejected"


class Conflict(InvalidInput):
    reason = "Conflict"


class NotKept(InvalidInput):
    reason = "NotKept"


class StageFailed(KubedistillError, RuntimeError):
    reason = "UserCodeError"


class LowYield(StageFailed):
    cause = "user"
    reason = "LowYield"


class MissingDependency(StageFailed):
    cause = "user"
    reason = "MissingDependency"


class ArtifactMissing(StageFailed):
    cause = "none"
    reason = "ArtifactMissing"


class StorageUnavailable(StageFailed):
    cause = "infrastructure"
    reason = "StorageUnavailable"


class StorageNotWritable(StorageUnavailable):
    cause = "user"
    reason = "StorageNotWritable"


class ChannelUnavailable(StageFailed):
    cause = "infrastructure"
    reason = "ChannelUnavailable"


class EngineLost(StageFailed):
    cause = "infrastructure"
    reason = "EngineLost"


class TrainingFailed(StageFailed):
    reason = "TrainingFailed"


class JobFailed(StageFailed):
    reason = "JobFailed"


class GateMissed(JobFailed):
    cause = "user"
    reason = "EvaluationGate"
    exit_code = EXIT_GATE


class ClusterUnavailable(KubedistillError, OSError):
    cause = "infrastructure"
    reason = "ClusterUnavailable"


class WaitTimeout(KubedistillError, TimeoutError):
    cause = "none"
    reason = "WaitTimeout"


class Stopped(KubedistillError):
    cause = "none"
    reason = "Stopped"


class StoreBusy(KubedistillError):
    cause = "none"
    reason = "StoreBusy"


class ClaimLost(KubedistillError):
    cause = "none"
    reason = "ClaimLost"
    exit_code = EXIT_CLAIM_LOST
