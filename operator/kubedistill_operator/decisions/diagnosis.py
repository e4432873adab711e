"""Diagnosis: why an admitted child does not run, and what an earlier attempt has left running."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedistill_operator.decisions.causes import had_to_leave
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.pool_limits import holding
from kubedistill_operator.observed import Attempt, Child, Pod, first_idle

NO_SIGN_SECONDS = 15
"""For how long KubeRay may be silent; it looks at each RayJob every 3 s."""
UNREADY_SECONDS = 30
"""For how long all pods may be ready before KubeRay has told so."""
LEAVING_SECONDS = 30
"""What a driver may take to leave after its result, until KubeRay has told so and its pods are on their way out."""
LOOPING_RESTARTS = 5
"""Restarts of a container after which its attempt ends: by kubelet's back-off, about 5 minutes."""

WAITS = {
    "ImagePullBackOff": "ImagePull", "ErrImagePull": "ImagePull", "InvalidImageName": "ImagePull",
    "ErrImageNeverPull": "ImagePull", "ImageInspectError": "ImagePull", "SignatureValidationFailed": "ImagePull",
    "RegistryUnavailable": "ImagePull",
    "CreateContainerConfigError": "ImageRefused", "CreateContainerError": "ImageRefused",
    "RunContainerError": "ImageRefused", "CrashLoopBackOff": "CrashLooping",
}  # fmt: skip
"""What kubelet says of a container that waits, and what we call it."""
MISSING = (
    (r'secret "[^"]*" not found|key \S+ in Secret |sync secret cache', "SecretNotFound"),
    (r'configmap "[^"]*" not found|key \S+ in ConfigMap |sync configmap cache', "ConfigMapNotFound"),
)
"""What a container lacks, by kubelet's words: all of that is a CreateContainerConfigError, as an image can be too."""
REFUSALS = (
    (r"(exceeded|failed) quota", "QuotaExceeded"),
    (r"no PriorityClass with name", "PriorityClassNotFound"),
    (r'serviceaccount "[^"]*" not found', "ServiceAccountNotFound"),
)
"""Why the API server makes no pod, by its words."""
REASONS = frozenset(
    {*WAITS.values(), *dict(MISSING).values(), *dict(REFUSALS).values(), "PodsRefused", "PodsRemain"}
    | {"KubeRayAbsent", "WaitingForNodes", "Unschedulable", "PodsNotStarted"}
)
_ORDINARY = ("", "ContainerCreating", "PodInitializing", "Unschedulable")
"""Waiting reasons that every pod has for a moment, and that of a pod for which there is no room."""
_POD_NAME = re.compile(r'(pods? )"[^"]*" ')


@dataclass(frozen=True, slots=True)
class Finding:
    """Why something waits, in a word and in a sentence that stays the same while the reason does."""

    reason: str
    message: str
    is_usual: bool = False
    """Whether every start shows it for a moment, so that nobody needs to hear of it at once."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A child that does not run, with what is known of it."""

    child: Child
    attempt: Attempt
    context: ReconcileContext

    @property
    def pods(self) -> Sequence[Pod]:
        return self.attempt.pods


def find_refusal(message: str, *, otherwise: str) -> str:
    """The reason for which the API server did not make something, by its message."""
    return next((reason for pattern, reason in REFUSALS if re.search(pattern, message)), otherwise)


def diagnose(child: Child, attempt: Attempt, *, context: ReconcileContext) -> Finding:
    """Why an admitted child does not run; the first answer counts."""
    waiting = Waiting(child, attempt, context)
    found = next((found for look in _LOOKS if (found := look(waiting)) is not None), None)
    return found or Finding("WaitingForNodes", child.message or "the pods are being made", is_usual=True)


def find_loop(pods: Sequence[Pod]) -> Pod | None:
    """The pod whose container has ended and was started again most often."""
    looping = [pod for pod in pods if pod.restarts and pod.ready_since is None]
    return max(looping, key=lambda pod: pod.restarts, default=None)


def describe_loop(pod: Pod) -> str:
    """How a container that is started again and again ends, with the last line that it wrote."""
    code = "" if pod.exit_code is None else f" with exit code {pod.exit_code}"
    said = pod.exit_message or pod.exit_reason
    return f"a container of pod {pod.name} ends{code} and is started again{f': {said}' if said else ''}"


def find_crashed(attempt: Attempt) -> list[Pod]:
    """Return the pods whose containers ended by themselves, and which KubeRay has replaced."""
    return [pod for pod in attempt.replaced if pod.exit_code is not None and not had_to_leave(pod)]


def describe_replaced(pods: Sequence[Pod]) -> str:
    """Say how pods failed that were replaced, by the latest of them."""
    latest = pods[-1]
    code = "" if latest.exit_code is None else f" with exit code {latest.exit_code}"
    said = latest.exit_message or latest.exit_reason
    where = f" of node {latest.node}" if latest.node else ""
    return f"pod {latest.name}{where} failed{code} and was replaced{f': {said}' if said else ''}"


def describe_remains(attempt: Attempt, *, context: ReconcileContext, waited: float) -> Finding:
    """What of an attempt that is over still runs, and who should have ended it by now."""
    lost, child = context.settings.node_lost_seconds, attempt.child
    pods = [pod for pod in attempt.pods if not pod.is_gone(context.now, node_lost_seconds=lost)]
    away = next((pod for pod in pods if pod.node_lost_since is not None), None)
    if away is not None:
        return Finding("PodsRemain", f"{_on_lost_node(away)}, and may still run; after {lost} s it counts as gone")
    held = _describe_held(child, pods, context=context)
    leaving = bool(pods) and all(pod.deleting for pod in pods)
    if child is None or child.kind != "RayJob" or leaving or waited < LEAVING_SECONDS:
        return Finding("PodsRemain", f"the attempt before is over, and {held}")
    if child.deleting:
        stays = "was deleted and is there"
    else:
        stays = "still has its cluster" if child.state == "Ended" else "is not told to have ended"
    return Finding("KubeRayAbsent", f"RayJob {child.name} {stays}: is KubeRay's operator at work? {held}")


def _refused_container(waiting: Waiting) -> Finding | None:
    for pod in waiting.pods:
        if (reason := WAITS.get(pod.waiting_reason)) is None or reason == "CrashLooping":
            continue
        if pod.waiting_reason == "CreateContainerConfigError":
            missing = (one for pattern, one in MISSING if re.search(pattern, pod.waiting_message))
            reason = next(missing, reason)
        return Finding(reason, f"pod {pod.name}: {pod.waiting_message or pod.waiting_reason}")
    return None


def _crash_loop(waiting: Waiting) -> Finding | None:
    pod = find_loop(waiting.pods)
    pod = pod or next((one for one in waiting.pods if WAITS.get(one.waiting_reason) == "CrashLooping"), None)
    return Finding("CrashLooping", describe_loop(pod)) if pod is not None else None


def _replaced(waiting: Waiting) -> Finding | None:
    """KubeRay makes a pod that failed anew at once, and for ever."""
    failed = [pod for pod in waiting.attempt.replaced if not had_to_leave(pod)]
    if not failed:
        return None
    reason = "CrashLooping" if failed[-1].exit_code is not None else "PodsNotStarted"
    return Finding(reason, describe_replaced(failed), is_usual=len(failed) == 1)


def _refused_pods(waiting: Waiting) -> Finding | None:
    child = waiting.child
    message = child.message if child.reason == "FailedCreate" else waiting.attempt.pods_refused
    if not message:
        return None
    # Each try has another name, and the same is not to be written again and again.
    return Finding(find_refusal(message, otherwise="PodsRefused"), _POD_NAME.sub(r"\1", message))


def _lost_node(waiting: Waiting) -> Finding | None:
    lost = next((pod for pod in waiting.pods if pod.node_lost_since is not None), None)
    return Finding("WaitingForNodes", _on_lost_node(lost), is_usual=True) if lost is not None else None


def _no_kuberay(waiting: Waiting) -> Finding | None:
    """A RayJob that nobody has taken up, or whose cluster is ready and nobody says so."""
    child, pods, now = waiting.child, waiting.pods, waiting.context.now
    if child.kind != "RayJob":
        return None
    held = _describe_held(child, pods, context=waiting.context)
    if not child.noticed:
        message = f"RayJob {child.name} has no status: is KubeRay's operator at work? {held}"
        return Finding("KubeRayAbsent", message, is_usual=True)
    ready = [pod.ready_since for pod in pods]
    if ready and all(since is not None and now - since >= UNREADY_SECONDS for since in ready):
        stale = f"all pods of RayJob {child.name} are ready, and its driver is not submitted"
        return Finding("KubeRayAbsent", f"{stale}: is KubeRay's operator at work? {held}", is_usual=True)
    return None


def _no_room(waiting: Waiting) -> Finding | None:
    unscheduled = [pod for pod in waiting.pods if pod.waiting_reason == "Unschedulable"]
    if not unscheduled:
        return None
    context, first = waiting.context, min(unscheduled, key=lambda pod: pod.created)
    patient = context.now - first.created < context.settings.scale_up_grace_seconds
    message = f"pod {first.name}: {first.waiting_message}"
    return Finding("WaitingForNodes", message, is_usual=True) if patient else Finding("Unschedulable", message)


def _held_back(waiting: Waiting) -> Finding | None:
    """What kubelet or the scheduler says of a pod in a word that we don't know, or that no scheduler has looked at."""
    context = waiting.context
    for pod in waiting.pods:
        if pod.waiting_reason not in _ORDINARY:
            told = f"pod {pod.name}: {pod.waiting_reason}: {pod.waiting_message}"
            return Finding("PodsNotStarted", told, is_usual=True)
        alone = pod.phase == "Pending" and not pod.node and not pod.waiting_reason
        if alone and context.now - pod.created >= NO_SIGN_SECONDS:
            scheduler = context.settings.scheduler_name or "the scheduler of the cluster"
            told = f"no scheduler has looked at pod {pod.name}: is {scheduler} at work?"
            return Finding("PodsNotStarted", told, is_usual=True)
    return None


def _idle(waiting: Waiting) -> Finding | None:
    """A pod on its node whose containers do not start: its volumes, its network or an image are not there yet."""
    pod, told = first_idle(waiting.pods), waiting.attempt.idle_told
    if pod is None:
        return None
    where = f"no container of pod {pod.name} has started on node {pod.node}"
    if not told:
        command = f"kubectl -n {waiting.context.job.namespace} describe pod {pod.name}"
        return Finding("PodsNotStarted", f"{where}; `{command}` says why", is_usual=True)
    # What an attempt is told is made after its pods: kubelet misses it for a moment.
    missing = next((one for pattern, one in MISSING if re.search(pattern, told)), None)
    if missing is not None and f'"{waiting.child.name}"' not in told:
        return Finding(missing, f"{where}: {told}")
    return Finding("PodsNotStarted", f"{where}: {told}", is_usual=True)


def _no_pod(waiting: Waiting) -> Finding | None:
    """A Job without a pod and without an Event that tells why: only people can look further."""
    child, context = waiting.child, waiting.context
    if child.kind != "Job" or waiting.pods or context.now - child.created < NO_SIGN_SECONDS:
        return None
    command = f"kubectl -n {context.job.namespace} describe job {child.name}"
    return Finding("PodsRefused", f"no pod of it could be made yet; `{command}` says why", is_usual=True)


_LOOKS: tuple[Callable[[Waiting], Finding | None], ...] = (
    _refused_container,
    _crash_loop,
    _replaced,
    _refused_pods,
    _lost_node,
    _no_kuberay,
    _no_room,
    _held_back,
    _idle,
    _no_pod,
)


def _on_lost_node(pod: Pod) -> str:
    return f"node {pod.node} of pod {pod.name} is absent or NotReady"


def _describe_held(child: Child | None, pods: Sequence[Pod], *, context: ReconcileContext) -> str:
    """Which pods still run, and the GPUs that they hold."""
    if not pods:
        return "no pod of it is there, and no GPU is held"
    stage = next((one for one in context.status.stages if child is not None and one.child == child.name), None)
    gpus = holding(context, stage.name).gpus if stage is not None else 0
    held = f", with the {gpus} GPUs of {stage.name}" if gpus and stage is not None else ""
    return f"these pods still run{held}: {', '.join(sorted(pod.name for pod in pods))}"
