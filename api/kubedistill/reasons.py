"""Reasons: the words with which a job or a command states why it waits, failed or was refused.

Tests compare errors, operator, guide, behavior page, runbooks and Argo CD's health with this table.
"""

from dataclasses import dataclass
from typing import Literal

Cause = Literal["user", "failure", "infrastructure", "preemption", "waiting", "queued", "none"]
"""The retry budget that a failure is charged to; `user` is not retried, and the last three have no budget.

`waiting` ends at schedulingTimeoutSeconds, `queued` does not; `none` is not a fault.
"""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: its cause, its meaning and the fix."""

    cause: Cause
    meaning: str
    fix: str = "nothing"
    shown: Literal["job", "command"] = "job"
    """Where it is shown: in the status of a job, or only as the answer to a command."""


_INVALID = Reason("user", "a field is wrong", "the message names the field and the fix")
_POOL = Reason(
    "user", "the pool is not in the operator's settings, or not allowed for this namespace",
    "name one that the message lists, or ask the platform team",
)  # fmt: skip
_CLAIM = Reason(
    "user", "the claim of the storage or of `modelCache` is missing, or cannot be mounted on several nodes",
    "create a ReadWriteMany claim with that name; the job continues by itself",
)  # fmt: skip
_NODES = Reason(
    "waiting", "no node has room for a pod; at first, the cluster may be scaling up",
    "the message is the scheduler's, and names how many `replicas` would fit; check the pool's nodes",
)  # fmt: skip
_MISSING = Reason(
    "waiting", "a Secret or ConfigMap that a pod needs is missing", "create it; the job continues by itself"
)
_LOST = Reason(
    "infrastructure", "the node, the Ray head, the driver or the RayJob or Job of the attempt was lost",
    "nothing: the next attempt or driver continues from the last shard or checkpoint",
)  # fmt: skip
_RAISED = Reason(
    "failure", "the driver raised an error",
    "`kubectl distill logs NAME`; the log is kept in the store too",
)  # fmt: skip
_EDITED = Reason(
    "none", "an edit waits for a new `runID`, or that one was used before (SpecDrift)",
    "set a new `runID` to run the edited spec",
)  # fmt: skip
_ASKED = Reason("none", "it was requested")
_LEFT = Reason("none", "a driver exited because it was asked to, or because another driver replaced it")

REASONS: dict[str, Reason] = {
    # Refused before anything starts.
    "InvalidSpec": _INVALID,
    "InvalidManifest": _INVALID,
    "InvalidInput": Reason("user", "an option, a file or an environment variable is wrong", "the message names it"),
    "InvalidData": Reason(
        "user", "a record or a file is wrong",
        "the message names the lines, up to 20 of a file; `kubedistill validate` finds all before a run",
    ),
    "InvalidModel": Reason(
        "user", "a model folder or repository cannot be used, or this build of vLLM cannot serve it",
        "check `source` and `revision`; the message contains vLLM's own reason",
    ),
    "UnknownPool": _POOL,
    "PoolNotAllowed": _POOL,
    "InvalidPool": Reason(
        "user", "Kubernetes refuses a string of the pool that the run was started with",
        "ask the platform team to correct the field that the message names, then set a new `spec.runID`",
    ),
    "PolicyViolated": Reason(
        "user", "the platform does not allow the model's source, or its own code",
        "use what the message lists, or ask the platform team",
    ),
    "TooFewGPUs": Reason(
        "user", "a pod asks for more GPUs than a node of the pool has, or a stage for more than a namespace may hold",
        "lower `tensorParallelSize` or `gpusPerWorker`, or name another pool",
    ),
    "NoStorage": Reason(
        "user", "neither the job nor the settings name a storage claim", "name one in `storage.volumeClaim`"
    ),
    "ClaimNotFound": _CLAIM,
    "StorageNotShared": _CLAIM,
    "TokenizerMismatch": Reason(
        "user", "`CachedLogits` with two tokenizers", "`objective: {type: Auto}`, or a student of the teacher's family"
    ),
    "ModelDoesNotFit": Reason(
        "user", "a model that is served or trained needs more memory than its hardware has",
        "the change that the message names: more GPUs per copy, a shorter length, or a larger pool",
    ),
    # Ends that a retry does not change.
    "LowYield": Reason(
        "user",
        "too few prompts were answered, or too few answers kept, of all, of a probe, or of an earlier job that created "
        "the artifact",
        "the message counts reasons; fix the prompts, or lower `minSuccessRatio` or `minKeepRatio` knowingly",
    ),
    "EvaluationGate": Reason("user", "the student missed a limit", "the message names each; read the report"),
    "BadCredentials": Reason(
        "user", "a token was refused, or a required token is missing",
        "put a token that may read what the message names into a Secret of `pods.envFromSecrets`, then rerun",
    ),
    "QuotaExhausted": Reason(
        "user", "the account of a teacher's endpoint has no credit left, or has reached its spending limit",
        "add credit or raise the limit, then rerun; the answers so far are kept",
    ),
    "StorageNotWritable": Reason(
        "user",
        "the store refuses this process: missing permissions, a read-only mount, or a file system without hard links",
        "do what the message says, then start again",
    ),
    "MissingDependency": Reason(
        "user", "the image or this machine lacks a compiler, a library or a package",
        "add it to the image, name that under `settings.images`, and rerun; it is not retried",
    ),
    "ValidationFailed": Reason(
        "user", "KubeRay refuses the RayJob", "this operator does not know the version of KubeRay; report it"
    ),
    "FrozenRunLost": Reason(
        "user", "the ConfigMap of the frozen run was deleted, and spec or settings have changed since",
        "set a new `spec.runID`",
    ),
    "DeadlineExceeded": Reason(
        "user", "the run was active for longer than `activeDeadlineSeconds`", "raise it, and rerun"
    ),
    # Attempts that end and are retried, from a budget of spec.retry.
    "UserCodeError": _RAISED,
    "TrainingFailed": _RAISED,
    "OutOfMemory": Reason(
        "failure", "a pod used more memory than its limit",
        "more memory in `stages.NAME.memory` or the pool; smaller `microBatchSize` or `maxLength`",
    ),
    "StorageExceeded": Reason(
        "failure", "a pod used more local disk than its limit",
        "the message is kubelet's; raise `ephemeralStorage` of the pool or of `settings.cpuResources`",
    ),
    "CrashLooping": Reason(
        "failure", "a container of a pod exits repeatedly", "the message contains its exit code and its last log line"
    ),
    "NoProgress": Reason(
        "failure", "no progress for `noProgressTimeoutSeconds`, or no first progress within `startupTimeoutSeconds`",
        "read the log; raise the limit if loading is slow",
    ),
    "PodRejected": Reason(
        "infrastructure", "kubelet refused a pod on its node: no free GPU, too few other resources, or a missing label",
        "the message is kubelet's; if it repeats, check the device plugin of the node that it names",
    ),
    "HeadLost": _LOST,
    "DriverRestarted": _LOST,
    "NodeLost": _LOST,
    "ChildVanished": _LOST,
    "EngineLost": Reason(
        "infrastructure", "the inference engine died, or Ray did not start twice",
        "the log says why; often memory, or a busy machine",
    ),
    "StorageUnavailable": Reason(
        "infrastructure",
        "the store is full or not available", "free some space or check the volume; the message names the path"
    ),
    "HubUnavailable": Reason(
        "infrastructure", "the model hub cannot be reached, or is down or busy",
        "check the NetworkPolicy, proxy and `HF_ENDPOINT`; for outages of hours raise"
        " `retry.maxInfrastructureFailures`, or name a folder",
    ),
    "EndpointUnavailable": Reason(
        "infrastructure", "a teacher's endpoint cannot be reached, is busy, or answers with server errors",
        "check its status, its limits, the NetworkPolicy and the proxy; the answers so far are kept",
    ),
    "ChannelUnavailable": Reason(
        "infrastructure",
        "the driver cannot reach the API server", "check the NetworkPolicy and the ServiceAccount's permissions"
    ),
    "Preempted": Reason("preemption", "the pods were preempted", "nothing: the same, charged to another budget"),
    "ArtifactMissing": Reason(
        "none", "an artifact in the store is missing",
        "nothing: it is created again, once per run; if it disappears again, find out what deletes it",
    ),
    # Waits.
    "Pending": Reason("queued", "a queue has not admitted the child", "wait, or ask for quota"),
    "SharedArtifact": Reason(
        "queued", "another job is creating the same artifact",
        "wait; the job uses the artifact when it exists, or creates it after `schedulingTimeoutSeconds`",
    ),
    "NamespaceBusy": Reason("queued", "the namespace has reached its number of active jobs", "wait"),
    "PoolBusy": Reason(
        "queued", "other jobs of the namespace hold as many GPUs of the pool as the platform allows", "wait"
    ),
    "OnHold": Reason(
        "queued", "the job has no status, as after a restore, and the settings hold such jobs",
        "`kubectl annotate dj NAME kubedistill.io/release=yes` when it should start",
    ),
    "WaitingForNodes": _NODES,
    "Unschedulable": _NODES,
    "ImagePull": Reason(
        "waiting", "an image cannot be pulled", "check the name and `pods.imagePullSecrets`"
    ),
    "ImageRefused": Reason(
        "waiting", "kubelet does not start the image: it runs as root, or lacks the program to run",
        "name the runtime's own image under `settings.images`, or one that is built from it",
    ),
    "SecretNotFound": _MISSING,
    "ConfigMapNotFound": _MISSING,
    "ServiceAccountNotFound": Reason(
        "waiting", "the ServiceAccount of the pods is missing", "create it; the job continues by itself"
    ),
    "PriorityClassNotFound": Reason(
        "waiting", "the PriorityClass of the pods is missing",
        "create it, or name another in `pods.priorityClassName` and rerun",
    ),
    "QuotaExceeded": Reason(
        "waiting", "a ResourceQuota refuses what the job needs", "raise it; the job continues by itself"
    ),
    "PodsRefused": Reason(
        "waiting",
        "the API server refuses the pods of a child, its Ray cluster or what submits its driver",
        "the message states the cause, or the command that shows it",
    ),
    "PodsNotStarted": Reason(
        "waiting", "a pod exists, but none of its containers starts: a volume, the network, a large image or a gate",
        "the message contains the report of kubelet or the scheduler, or the command that shows it",
    ),
    "KubeRayAbsent": Reason(
        "waiting", "KubeRay's operator does not act on the RayJob",
        "check whether it runs; the job continues by itself, and the message names what holds GPUs meanwhile",
    ),
    "PodsRemain": Reason(
        "waiting", "pods of an earlier attempt have not ended",
        "wait; look at the pods and the node that the message names",
    ),
    "WriteRefused": Reason(
        "waiting", "a policy of the cluster refuses what the job needs", "the message is the policy's"
    ),
    "WriteDelayed": Reason(
        "queued",
        "the API server cannot accept what the job needs now: it is busy, or a webhook that it calls is not available",
        "the message is the API server's; the job continues by itself afterwards",
    ),
    "ReadRefused": Reason(
        "queued",
        "the operator lacks a permission to read objects of the namespace, and decides nothing about the job",
        "the message names the permission and the role; the job continues by itself within 5 minutes",
    ),
    "NameTaken": Reason(
        "waiting", "an object with that name has another owner", "delete it, or rename the job"
    ),
    "FrozenRunForged": Reason(
        "waiting", "a ConfigMap that the operator did not write has the name of the frozen run",
        "delete the ConfigMap that the message names",
    ),
    # Nothing went wrong.
    "StatusNotUnderstood": Reason(
        "none",
        "another version of the operator wrote the job, and this one does not understand a value in it;"
        " it does nothing about the job",
        "ask the platform team to run that version of the operator again, or a later one; the job continues by itself."
        " If no other version ran, correct that field: `kubectl edit dj NAME --subresource=status`",
    ),
    "Edited": _EDITED,
    "RunIDReused": _EDITED,
    "Cancelled": _ASKED,
    "Superseded": _ASKED,
    "Suspended": _ASKED,
    "AsAsked": _ASKED,
    "BudgetSpent": Reason(
        "none", "the run has spent its `budget`; it is saved and stopped",
        "raise the field of `spec.budget` that the message names; the run continues by itself,"
        " on one machine when it is started again",
    ),
    "Deleted": Reason(
        "none", "the job is being deleted, and a finalizer holds it",
        "the message names the finalizer; whoever set it must remove it",
    ),
    "Stopped": _LEFT,
    "ClaimLost": _LEFT,
    "StoreBusy": Reason(
        "none", "another run of the job on this machine uses the store", "wait for it, or stop it"
    ),
    # Answers of commands.
    "NoCluster": Reason("user", "no kubeconfig, or no such context in it", "name one", shown="command"),
    "NotInstalled": Reason(
        "user", "the cluster does not know DistillationJobs, or RayJobs", "install them", shown="command"
    ),
    "NotAllowed": Reason("user", "the user may not do that", "ask for the permission that it names", shown="command"),
    "NoSuchJob": Reason("user", "the job does not exist", "check name and namespace", shown="command"),
    "Rejected": Reason("user", "the API server does not accept the manifest", "the message says why", shown="command"),
    "Conflict": Reason("user", "another manager writes the job, or it runs", "try again", shown="command"),
    "NotKept": Reason(
        "user",
        "a report or log does not exist, or is not available from here", "the message says where", shown="command"
    ),
    "JobFailed": Reason("failure", "the job that was waited for failed", "its status has the reason", shown="command"),
    "ClusterUnavailable": Reason(
        "infrastructure", "the API server does not answer", "try again", shown="command"
    ),
    "WaitTimeout": Reason(
        "none", "the job took longer than it was waited for", "wait again; the job continues", shown="command"
    ),
    "InvalidSettings": Reason("user", "the operator's settings are wrong", "the message says where", shown="command"),
    "RuntimeDied": Reason("failure", "the local process ended without a result", "its log says more", shown="command"),
}  # fmt: skip
