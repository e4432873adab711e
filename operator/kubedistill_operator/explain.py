"""Explain: what reconcile would do about one job now, and why. Changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubedistill.errors import InvalidInput
from kubedistill.json_values import Json
from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import KIND
from kubedistill_operator.cluster.api_errors import LeaseLost, NotUnderstood, Refused
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.connection import Connection
from kubedistill_operator.cluster.status_writing import status_values
from kubedistill_operator.job import Job, parse_job
from kubedistill_operator.loop.controller import Controller
from kubedistill_operator.loop.replica import make_controller
from kubedistill_operator.observed import Attempt, Observed
from kubedistill_operator.plan import Manifest, Plan
from kubedistill_operator.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Explanation:
    """A job, what exists of it, and what would be done about it."""

    job: Job
    observed: Observed
    plan: Plan

    def lines(self) -> Iterator[str]:
        """Yield the explanation, for people."""
        job, plan = self.job, self.plan
        yield f"{job.namespace}/{job.name}: {job.status.phase or 'Pending'}, generation {job.generation}"
        if job.problem:
            yield f"  its spec {'starts no new run' if job.spec else 'cannot be read'}: {job.problem}"
        yield from (f"  {line}" for line in _existing(self.observed))
        yield f"because: {'; '.join(plan.why) or 'there is nothing to do'}"
        yield from (f"  would {line}" for line in _actions(plan, job))
        if plan.requeue_after is not None:
            yield f"  would reconcile again in {plan.requeue_after:g} s"


async def explain(namespace: str, name: str, *, settings: Settings, kubeconfig: Path | None = None) -> Explanation:
    """Observe a job and decide; raises InvalidInput if there is no such job."""
    connection = await Connection.find(kubeconfig)
    async with Cluster(connection.configuration, write_deadline=_refuse_to_write) as cluster:
        controller = make_controller(cluster, settings=settings, metrics=Metrics())
        resource = await cluster.get(KIND, name, namespace=namespace)
        if resource is None:
            fix = f"`kubectl get dj --namespace {namespace}` lists those that there are"
            raise InvalidInput(f"there is no {KIND} {name!r} in namespace {namespace!r}", fix=fix)
        for other in await _others(cluster, namespace, settings=settings):
            controller.cache.update(parse_job(other))
        return await _decide(controller, parse_job(resource))


async def _decide(controller: Controller, job: Job) -> Explanation:
    try:
        observation, plan = await controller.decide(job, await controller.observer.observe(job, full=True))
    except NotUnderstood as error:
        return Explanation(job, Observed(), Plan(why=(str(error),)))
    return Explanation(job, observation.observed, plan)


async def _others(cluster: Cluster, namespace: str, *, settings: Settings) -> list[Manifest]:
    """Return all jobs that matter to this one, or as many of them as we may read."""
    found: list[Manifest] = []
    for space in settings.watch_namespaces or ("",):
        try:
            found += await cluster.select(KIND, namespace=space)
        except Refused:
            found += await cluster.select(KIND, namespace=namespace)
    return found


def _refuse_to_write() -> float:
    raise LeaseLost("explain writes nothing")


def _existing(observed: Observed) -> Iterator[str]:
    for title, attempt in (("current", observed.attempt), *(("earlier", one) for one in observed.earlier)):
        child = attempt.child
        if child is not None:
            held = "" if child.admitted else ", held back by its queue"
            why = _in_parentheses(child.reason, child.message)
            yield f"{title} child: {child.kind} {child.name} {child.state}{held}{why}"
        elif attempt.pods:
            yield f"{title} child: gone"
        if attempt.pods:
            yield f"{title} pods: {', '.join(_pods(attempt))}"
        if (channel := attempt.channel) is not None:
            result = f", result {channel.result.outcome}" if channel.result else ""
            problem = f"; it cannot be read completely: {channel.problem}" if channel.problem else ""
            yield f"{title} channel: {channel.starts} starts{result}{problem}"
    for competitor in observed.competitors:
        yield f"other job with the same artifacts on the same store: {competitor.namespace}/{competitor.name}"


def _pods(attempt: Attempt) -> Iterator[str]:
    for pod in attempt.pods:
        yield f"{pod.name} {pod.phase}{_in_parentheses(pod.waiting_reason or pod.exit_reason, '')}"


def _in_parentheses(reason: str, message: str) -> str:
    text = ": ".join(part for part in (reason, message) if part)
    return f" ({text})" if text else ""


def _actions(plan: Plan, job: Job) -> Iterator[str]:
    if plan.status is not None:
        changes = list(_changes(status_values(job.status), status_values(plan.status)))
        yield f"write status: {'; '.join(changes) or 'no visible change'}"
    for deletion in plan.delete:
        yield f"delete {deletion.kind} {deletion.name}"
    if plan.stop is not None:
        yield f"ask the driver behind {plan.stop.channel} to save and stop"
    for manifest in plan.create:
        yield f"create {manifest['kind']} {manifest['metadata']['name']}"
    for event in plan.events:
        yield f"send Event {event.type} {event.reason}: {event.message}"


def _changes(before: Json, after: Json, path: str = "") -> Iterator[str]:
    """Yield the leaves that differ, as `path: before -> after`; items of lists are matched by name, type or ID."""
    before, after = _by_name(before), _by_name(after)
    if isinstance(before, dict) or isinstance(after, dict):
        old = before if isinstance(before, dict) else {}
        new = after if isinstance(after, dict) else {}
        for name in sorted({*old, *new}):
            yield from _changes(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif before != after:
        yield f"{path}: {_format(before)} -> {_format(after)}"


def _by_name(value: Json) -> Json:
    if not isinstance(value, list):
        return value
    return {
        str(item.get("name") or item.get("type") or item.get("id")) if isinstance(item, dict) else str(item): item
        for item in value
    }


def _format(value: Json) -> str:
    return "nothing" if value is None else str(value)
