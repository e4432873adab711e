"""Diagnosis: why an admitted child does not run, and which pods of an earlier attempt still run."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedistill_operator.decisions.causes import was_disrupted
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.pool_limits import held_gpus
from kubedistill_operator.observed import Attempt, Child, Pod, first_idle

NO_SIGN_SECONDS = 15
"""How long KubeRay may be silent; it looks at each RayJob every 3 s."""
UNREADY_SECONDS = 30
"""How long all pods may be ready before KubeRay reports it."""
LEAVING_SECONDS = 30
"""How long a driver may take to exit after its result, until KubeRay reports the end and deletes its pods."""
LOOPING_RESTARTS = 5
"""Restarts of a container after which its attempt ends: about 5 minutes with kubelet's backoff."""

KUBERAY_ABSENT = "KubeRayAbsent"
WAITS = {
    "ImagePullBackOff": "ImagePull", "ErrImagePull": "ImagePull", "InvalidImageName": "ImagePull",
    "ErrImageNeverPull": "ImagePull", "ImageInspectError": "ImagePull", "SignatureValidationFailed": "ImagePull",
    "RegistryUnavailable": "ImagePull",
    "CreateContainerConfigError": "ImageRefused", "CreateContainerError": "ImageRefused",
    "RunContainerError": "ImageRefused", "CrashLoopBackOff": "CrashLooping",
}  # fmt: skip
"""Kubelet's reasons for a waiting container, and ours."""
MISSING = (
    (r'secret "[^"]*" not found|key \S+ in Secret |sync secret cache', "SecretNotFound"),
    (r'configmap "[^"]*" not found|key \S+ in ConfigMap |sync configmap cache', "ConfigMapNotFound"),
)
"""What a container lacks, by kubelet's message; kubelet gives all of these, and some images, one reason."""
REFUSALS = (
    (r"(exceeded|failed) quota", "QuotaExceeded"),
    (r"no PriorityClass with name", "PriorityClassNotFound"),
    (r'serviceaccount "[^"]*" not found', "ServiceAccountNotFound"),
)
"""Why the API server creates no pod, by its message."""
REASONS = frozenset(
    {*WAITS.values(), *dict(MISSING).values(), *dict(REFUSALS).values(), "PodsRefused", "PodsRemain"}
    | {KUBERAY_ABSENT, "WaitingForNodes", "Unschedulable", "PodsNotStarted"}
)
_ORDINARY = ("", "ContainerCreating", "PodInitializing", "Unschedulable")
"""Waiting reasons that every pod has for a moment, and the reason of a pod that does not fit on any node."""
_POD_NAME = re.compile(r'(pods? )"[^"]*" ')


@dataclass(frozen=True, slots=True)
class Finding:
    """Why something waits: a reason, and a message that stays the same as long as the reason does."""

    reason: str
    message: str
    is_usual: bool = False
    """Whether every start shows it for a moment, so that it need not be reported at once."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A child that does not run, and what is known about it."""

    child: Child
    attempt: Attempt
    context: ReconcileContext

    @property
    def pods(self) -> Sequence[Pod]:
        return self.attempt.pods


def find_refusal(message: str, *, otherwise: str) -> str:
    """Return the reason why the API server refused to create something, by its message."""
    return next((reason for pattern, reason in REFUSALS if re.search(pattern, message)), otherwise)


def diagnose(child: Child, attempt: Attempt, *, context: ReconcileContext) -> Finding:
    """Return why an admitted child does not run; the first rule that matches counts."""
    waiting = Waiting(child, attempt, context)
    found = next((found for rule in _RULES if (found := rule(waiting)) is not None), None)
    return found or Finding("WaitingForNodes", child.message or "the pods are being created", is_usual=True)


def find_loop(pods: Sequence[Pod]) -> Pod | None:
    """Return the pod whose container has been restarted most often."""
    looping = [pod for pod in pods if pod.restarts and pod.ready_since is None]
    return max(looping, key=lambda pod: pod.restarts, default=None)


def describe_loop(pod: Pod) -> str:
    """Describe how a container that keeps being restarted ends, with the last line that it wrote."""
    code = "" if pod.exit_code is None else f" with exit code {pod.exit_code}"
    detail = pod.exit_message or pod.exit_reason
    return f"a container of pod {pod.name} ended{code} and was restarted{f': {detail}' if detail else ''}"


def find_crashed(attempt: Attempt) -> list[Pod]:
    """Return the pods whose containers ended by themselves, and which KubeRay has replaced."""
    return [pod for pod in attempt.replaced if pod.exit_code is not None and not was_disrupted(pod)]


def describe_replaced(pods: Sequence[Pod]) -> str:
    """Describe how replaced pods failed, by the latest of them."""
    latest = pods[-1]
    code = "" if latest.exit_code is None else f" with exit code {latest.exit_code}"
    detail = latest.exit_message or latest.exit_reason
    where = f" of node {latest.node}" if latest.node else ""
    return f"pod {latest.name}{where} failed{code} and was replaced{f': {detail}' if detail else ''}"


def describe_running_pods(attempt: Attempt, *, context: ReconcileContext, waited: float) -> Finding:
    """Describe what still runs of an attempt that is over, and who should have ended it by now."""
    lost, child = context.settings.node_lost_seconds, attempt.child
    pods = [pod for pod in attempt.pods if not pod.is_gone(context.now, node_lost_seconds=lost)]
    lost_pod = next((pod for pod in pods if pod.node_lost_since is not None), None)
    if lost_pod is not None:
        return Finding("PodsRemain", f"{_on_lost_node(lost_pod)}, and may still run; after {lost} s it counts as gone")
    held = _describe_held(child, pods, context=context)
    leaving = bool(pods) and all(pod.deleting for pod in pods)
    if child is None or child.kind != "RayJob" or leaving or waited < LEAVING_SECONDS:
        return Finding("PodsRemain", f"the previous attempt is over; {held}")
    if child.deleting:
        state = "was deleted but still exists"
    else:
        state = "still has its cluster" if child.state == "Ended" else "is not reported as ended"
    return Finding(KUBERAY_ABSENT, f"RayJob {child.name} {state}: is the KubeRay operator running? {held}")


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
    """Report a pod that failed: KubeRay replaces it at once, without a limit."""
    failed = [pod for pod in waiting.attempt.replaced if not was_disrupted(pod)]
    if not failed:
        return None
    reason = "CrashLooping" if failed[-1].exit_code is not None else "PodsNotStarted"
    return Finding(reason, describe_replaced(failed), is_usual=len(failed) == 1)


def _refused_pods(waiting: Waiting) -> Finding | None:
    child = waiting.child
    message = child.message if child.reason == "FailedCreate" else waiting.attempt.pods_refused
    if not message:
        return None
    # Every try has another name; remove it, so that the same message is not written repeatedly.
    return Finding(find_refusal(message, otherwise="PodsRefused"), _POD_NAME.sub(r"\1", message))


def _lost_node(waiting: Waiting) -> Finding | None:
    lost = next((pod for pod in waiting.pods if pod.node_lost_since is not None), None)
    return Finding("WaitingForNodes", _on_lost_node(lost), is_usual=True) if lost is not None else None


def _no_kuberay(waiting: Waiting) -> Finding | None:
    """Report a RayJob that KubeRay has not noticed, or whose cluster is ready while KubeRay says otherwise."""
    child, pods, now = waiting.child, waiting.pods, waiting.context.now
    if child.kind != "RayJob":
        return None
    held = _describe_held(child, pods, context=waiting.context)
    if not child.noticed:
        message = f"RayJob {child.name} has no status: is the KubeRay operator running? {held}"
        return Finding(KUBERAY_ABSENT, message, is_usual=True)
    ready = [pod.ready_since for pod in pods]
    if ready and all(since is not None and now - since >= UNREADY_SECONDS for since in ready):
        stale = f"all pods of RayJob {child.name} are ready, but its driver is not submitted"
        return Finding(KUBERAY_ABSENT, f"{stale}: is the KubeRay operator running? {held}", is_usual=True)
    return None


def _no_room(waiting: Waiting) -> Finding | None:
    unscheduled = [pod for pod in waiting.pods if pod.waiting_reason == "Unschedulable"]
    if not unscheduled:
        return None
    context, first = waiting.context, min(unscheduled, key=lambda pod: pod.created)
    may_scale_up = context.now - first.created < context.settings.scale_up_grace_seconds
    message = f"pod {first.name}: {first.waiting_message}"
    if may_scale_up:
        return Finding("WaitingForNodes", message, is_usual=True)
    return Finding("Unschedulable", f"{_describe_fitting(waiting)}{message}")


def _describe_fitting(waiting: Waiting) -> str:
    """Describe how many replicas of a served teacher the scheduled workers are enough for; empty if it has only one.

    A message shows at most 1,024 characters, and the scheduler's may be longer, so this comes first.
    """
    run, workers = waiting.context.run, [pod for pod in waiting.pods if pod.is_worker]
    if run is None or waiting.context.chain_stage.name != "Generate":
        return ""
    scheduled = sum(bool(pod.node) for pod in workers)
    for place, teacher in enumerate(run.spec.teachers):
        if teacher.model is None or teacher.resources.replicas == 1:
            continue
        pods, replicas = teacher.model.pipeline_parallel_size, teacher.resources.replicas
        fitting = scheduled // pods
        if fitting < replicas:
            found = f"{scheduled} of {replicas * pods} workers have a node, which is enough for {fitting} of {replicas}"
            field = f"spec.teachers[{place}].resources.replicas"
            fix = f"set {field} to {fitting} in a new run, or" if fitting else "free nodes, or"
            return f"{found} replicas; {fix} raise schedulingTimeoutSeconds; "
    return ""


def _held_back(waiting: Waiting) -> Finding | None:
    """Report a pod with an unknown waiting reason, or one that no scheduler has looked at."""
    context = waiting.context
    for pod in waiting.pods:
        if pod.waiting_reason not in _ORDINARY:
            message = f"pod {pod.name}: {pod.waiting_reason}: {pod.waiting_message}"
            return Finding("PodsNotStarted", message, is_usual=True)
        is_unseen = pod.phase == "Pending" and not pod.node and not pod.waiting_reason
        if is_unseen and context.now - pod.created >= NO_SIGN_SECONDS:
            scheduler = context.settings.scheduler_name or "the scheduler of the cluster"
            message = f"no scheduler has looked at pod {pod.name}: is {scheduler} running?"
            return Finding("PodsNotStarted", message, is_usual=True)
    return None


def _idle(waiting: Waiting) -> Finding | None:
    """Report a pod whose containers do not start on its node: a volume, the network or an image is not ready."""
    pod, event = first_idle(waiting.pods), waiting.attempt.idle_event
    if pod is None:
        return None
    where = f"no container of pod {pod.name} has started on node {pod.node}"
    if not event:
        command = f"kubectl -n {waiting.context.job.namespace} describe pod {pod.name}"
        return Finding("PodsNotStarted", f"{where}; `{command}` shows why", is_usual=True)
    # ConfigMap `<child>` is created after the pods: kubelet reports it as missing for a moment.
    missing = next((one for pattern, one in MISSING if re.search(pattern, event)), None)
    if missing is not None and f'"{waiting.child.name}"' not in event:
        return Finding(missing, f"{where}: {event}")
    return Finding("PodsNotStarted", f"{where}: {event}", is_usual=True)


def _no_pod(waiting: Waiting) -> Finding | None:
    """Report a Job without a pod and without an Event that tells why: only people can look further."""
    child, context = waiting.child, waiting.context
    if child.kind != "Job" or waiting.pods or context.now - child.created < NO_SIGN_SECONDS:
        return None
    command = f"kubectl -n {context.job.namespace} describe job {child.name}"
    return Finding("PodsRefused", f"no pod could be created yet; `{command}` shows why", is_usual=True)


_RULES: tuple[Callable[[Waiting], Finding | None], ...] = (
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
    """Describe which pods still run, and the GPUs that they hold."""
    if not pods:
        return "it has no pods, and holds no GPUs"
    stage = next((one for one in context.status.stages if child is not None and one.child == child.name), None)
    gpus = held_gpus(context, stage.name).gpus if stage is not None else 0
    held = f", and hold the {gpus} GPUs of {stage.name}" if gpus and stage is not None else ""
    return f"these pods still run{held}: {', '.join(sorted(pod.name for pod in pods))}"
