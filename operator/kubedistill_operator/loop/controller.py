"""The controller: takes keys from the queue and, for each, observes, decides and acts."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import KIND
from kubedistill_operator.cluster.api_errors import (
    LeaseLost,
    NameCollision,
    NotUnderstood,
    ReadRefused,
    Refused,
    Transient,
)
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.execution import Executor, read_refusal
from kubedistill_operator.cluster.observation import Observation, Observer
from kubedistill_operator.decisions.reconcile import reconcile
from kubedistill_operator.job import Job, Key, parse_job
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.loop.workqueue import WorkQueue
from kubedistill_operator.observed import Observed
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.telemetry.driver_metrics import read_driver_metrics
from kubedistill_operator.telemetry.logs import log_attempt, log_context
from kubedistill_operator.telemetry.metrics import Metrics

Reconcile = Callable[..., Plan]

WORKERS = 16
_MOST_TURNS = 30
"""Maximum reconciles of one key in a row that each ask for another at once; a job's complete run needs far fewer."""
_RESTLESS_SECONDS = 30.0
_REFUSED_SECONDS = 10.0
"""How long reading may be refused before it is reported: a server that has just started knows no roles yet."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Controller:
    """A pool of workers on one queue."""

    cluster: Cluster
    queue: WorkQueue
    cache: JobCache
    observer: Observer
    executor: Executor
    metrics: Metrics
    settings: Settings
    clock: Callable[[], float]
    """Seconds since the epoch; durations are measured with the queue's clock."""
    reconcile: Reconcile = reconcile
    closing: bool = False
    """Whether no further job is to be reconciled."""
    _started: dict[Key, float] = field(default_factory=dict)
    _full: set[Key] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    """Uids of jobs that were fully observed since we lead."""
    _turns: dict[Key, int] = field(default_factory=dict)
    _unreadable: dict[Key, float] = field(default_factory=dict)
    """Since when jobs cannot be reconciled because reading is refused."""

    async def run(self, workers: int = WORKERS) -> None:
        """Work until cancelled; raises LeaseLost if nothing may be written anymore."""
        self.metrics.set_workers(workers)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    def resync(self, key: Key) -> None:
        """Schedule a full reconcile of a job, unless the job needs none."""
        if self.cache.needs_reconcile(key):
            self._full.add(key)
            self.queue.add(key)

    def longest_reconcile(self) -> float:
        """Return the seconds for which the oldest running reconcile has been running."""
        return max((self.queue.clock() - began for began in self._started.values()), default=0.0)

    async def drain(self, seconds: float) -> None:
        """Start no further reconciles, and wait at most so long for those that run."""
        self.closing = True
        left = self.queue.clock() + seconds
        while self._started and self.queue.clock() < left:
            await asyncio.sleep(0.02)

    async def _work(self) -> None:
        while True:
            key, waited = await self.queue.get()
            if self.closing:
                return
            self.metrics.count_wait(waited)
            self.metrics.count_worker(1)
            self._started[key] = self.queue.clock()
            try:
                await self.handle(key)
            finally:
                del self._started[key]
                self.metrics.count_worker(-1)
                self.queue.done(key)

    async def handle(self, key: Key) -> None:
        """Reconcile one job, and return it to the queue as needed; raises nothing but LeaseLost."""
        began = self.queue.clock()
        with log_context(key):
            result = await self._try(key)
        self.metrics.count_reconcile(result, self.queue.clock() - began)

    async def _try(self, key: Key) -> str:
        """Reconcile one job, and return how that went."""
        try:
            again = await self.reconcile_key(key)
        except LeaseLost:
            raise
        except Transient as error:
            log.info("%s/%s will be retried: %s", *key, error)
            self.queue.retry(key, min_delay=error.after or 0.0)
        except (Refused, NameCollision) as error:
            log.warning("%s/%s cannot continue: %s", *key, error)
            self.queue.retry(key)
        except Exception:  # a bug: log it, and retry with backoff
            log.exception("reconciling %s/%s failed", *key)
            self.queue.retry(key)
        else:
            self.queue.reset_backoff(key)
            if again is not None:
                self.queue.add_after(key, again, urgent=again == 0)
            return "success" if again is None else "requeue_after" if again else "requeue"
        return "error"

    async def reconcile_key(self, key: Key) -> float | None:
        """Observe, decide and act; return the seconds until the next reconcile of the job, or None if it needs none."""
        if not self.cache.needs_reconcile(key):
            return None
        namespace, name = key
        resource = await self.cluster.get(KIND, name, namespace=namespace)
        if resource is None:
            self.forget(key)
            return None
        job = parse_job(resource)
        self._enqueue(self.cache.update(job))
        log_attempt(job)
        try:
            observation = await self.observer.observe(job, full=key in self._full or job.uid not in self._known)
            self._full.discard(key)
            self._known.add(job.uid)
            again = await self._act(job, observation)
        except NotUnderstood as error:
            await self._stop_acting(job, str(error))
            return None
        except ReadRefused as error:
            await self._report_unreadable(job, error)
            raise
        self._unreadable.pop(key, None)
        return again

    async def _report_unreadable(self, job: Job, error: ReadRefused) -> None:
        """Report a right to read that we lack, once that has lasted; the job is tried again as after other errors."""
        now = self.queue.clock()
        if now - self._unreadable.setdefault((job.namespace, job.name), now) < _REFUSED_SECONDS:
            return
        plan = self.reconcile(job, Observed(unreadable=str(error)), now=self.clock(), settings=self.settings)
        await self._execute(plan, job)

    async def _stop_acting(self, job: Job, problem: str) -> None:
        """Report that a job is not understood, and leave it alone until it changes."""
        log.warning("the operator does not act on the job: %s", problem)
        if not job.deleting:
            job = await self.executor.stop_acting(job, problem)
        self._enqueue(self.cache.update(job))
        self.cache.set_idle(job)

    async def _act(self, job: Job, observation: Observation) -> float | None:
        """Decide and act; repeat with the same observation while that has changed only the status."""
        while True:
            observation, plan = await self.decide(job, observation)
            plan, after = await self._carry_out(plan, job, observation.observed)
            again = self._next_reconcile(plan, job, observation.observed)
            changes_cluster = plan.create or plan.delete or plan.stop
            if again != 0 or plan.status is None or changes_cluster or not observation.still_valid(job, after):
                return again
            job = after
            log_attempt(job)

    async def decide(self, job: Job, observation: Observation) -> tuple[Observation, Plan]:
        """Return what exists and what to do about it; to create, delete or stop anything takes a full observation."""
        observation, plan = self._reconcile(job, observation)
        if not observation.full and (plan.create or plan.delete or plan.stop):
            observation, plan = self._reconcile(job, await self.observer.observe(job, full=True))
        key, attempt = (job.namespace, job.name), observation.observed.attempt
        seen_since = self.observer.sightings.since
        self.cache.set_driver_metrics(key, read_driver_metrics(job.status, attempt.channel, seen_since=seen_since))
        if observation.full:
            attempts = (attempt, *observation.observed.earlier)
            self.cache.set_children(key, (one.child.name for one in attempts if one.child))
        return observation, plan

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        uid = self.cache.uid(key)
        self._enqueue(self.cache.remove(key))
        self.queue.forget(key)
        self._turns.pop(key, None)
        self._unreadable.pop(key, None)
        self._full.discard(key)
        if uid:
            self.observer.forget(uid)
            self._known.discard(uid)

    def _reconcile(self, job: Job, observation: Observation) -> tuple[Observation, Plan]:
        """Decide, with what is known about other jobs at this moment."""
        observed = replace(
            observation.observed,
            competitors=self.cache.competitors(job),
            active_in_namespace=self.cache.count_other_active(job),
            gpus_in_namespace=self.cache.count_other_gpus(job),
        )
        observation = replace(observation, observed=observed)
        return observation, self.reconcile(job, observation.observed, now=self.clock(), settings=self.settings)

    async def _carry_out(self, plan: Plan, job: Job, observed: Observed) -> tuple[Plan, Job]:
        """Carry out a plan, or the plan that replaces it after a refusal; return the plan carried out, and the job.

        A delayed write is reported in the job if it lasts; Transient is raised all the same.
        """
        try:
            return plan, await self._execute(plan, job)
        except Transient as error:
            if plan.status is None:  # otherwise our copy of the job may be outdated
                report = self._reconsider(job, observed, error)
                await self._execute(replace(report, create=(), delete=(), stop=None), job)
            raise
        except ReadRefused:  # nothing was refused that the plan creates
            raise
        except (Refused, NameCollision) as error:
            if plan.status is not None or not plan.create:  # our copy of the job may be outdated
                await self.executor.send_event(Event("WriteRefused", str(error), "Warning"), job)
                raise
            log.warning("%s/%s waits: %s", job.namespace, job.name, error)
            plan = self._reconsider(job, observed, error)
            return plan, await self._execute(plan, job)

    def _reconsider(self, job: Job, observed: Observed, error: Refused | NameCollision | Transient) -> Plan:
        """Decide again, with the API server's refusal."""
        observed = replace(observed, refusal=read_refusal(error))
        return self.reconcile(job, observed, now=self.clock(), settings=self.settings)

    async def _execute(self, plan: Plan, job: Job) -> Job:
        for why in plan.why:
            log.debug("%s", why)
        if plan.status is not None:
            # Before the first await: a decision about another job must not use the same room.
            self._enqueue(self.cache.update(replace(job, status=plan.status)))
        after = await self.executor.execute(plan, job)
        if plan.status is not None:
            self._enqueue(self.cache.update(after))
            self.metrics.count_change(job, plan.status)
        return after

    def _next_reconcile(self, plan: Plan, job: Job, observed: Observed) -> float | None:
        """Return when to reconcile again; a job that asks for it at once too often in a row must wait."""
        key = (job.namespace, job.name)
        if plan.requeue_after is None:
            self._turns.pop(key, None)
            if plan == Plan() and observed.attempt.child is None and not observed.earlier:
                self.cache.set_idle(job)
            return None
        if plan.requeue_after > 0:
            self._turns.pop(key, None)
            return plan.requeue_after
        turns = self._turns[key] = self._turns.get(key, 0) + 1
        if turns < _MOST_TURNS:
            return 0.0
        log.warning("the job does not settle: %s", "; ".join(plan.why))
        return _RESTLESS_SECONDS

    def _enqueue(self, keys: list[Key]) -> None:
        for key in keys:
            self.queue.add(key)
