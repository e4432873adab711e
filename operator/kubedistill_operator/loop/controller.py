"""The controller: takes keys from the queue and, for each, observes, decides and does what was decided."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import KIND
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.execution import Executor, read_refusal
from kubedistill_operator.cluster.failures import LeaseLost, NameCollision, NotUnderstood, Refused, Transient
from kubedistill_operator.cluster.observation import Observation, Observer
from kubedistill_operator.decisions.reconcile import reconcile
from kubedistill_operator.job import Job, Key, parse_job
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.loop.workqueue import WorkQueue
from kubedistill_operator.observed import Observed
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.telemetry.driver_metrics import read_driver_metrics
from kubedistill_operator.telemetry.logs import about, about_attempt
from kubedistill_operator.telemetry.metrics import Metrics

Reconcile = Callable[..., Plan]

WORKERS = 16
_MOST_TURNS = 30
"""Runs of one key in a row, each asking for the next at once; a whole run of a job needs far fewer."""
_RESTLESS_SECONDS = 30.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Controller:
    """One worker pool over one queue."""

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
    """Whether no further job is to be looked at."""
    _started: dict[Key, float] = field(default_factory=dict)
    _full: set[Key] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)
    """Uids of jobs that were looked at thoroughly since we lead."""
    _turns: dict[Key, int] = field(default_factory=dict)

    async def run(self, workers: int = WORKERS) -> None:
        """Work until cancelled; raises LeaseLost where nothing may be written any more."""
        self.metrics.set_workers(workers)
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    def resync(self, key: Key) -> None:
        """Have everything of a job looked at, unless it needs no look."""
        if self.cache.needs_look(key):
            self._full.add(key)
            self.queue.add(key)

    def longest(self) -> float:
        """Seconds for which the reconcile that began first has been running."""
        return max((self.queue.clock() - began for began in self._started.values()), default=0.0)

    async def drain(self, seconds: float) -> None:
        """Take up nothing more, and wait at most so long for what is under way."""
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
        """Look at one job, and put it back into the queue as it needs; raises LeaseLost and nothing else."""
        began = self.queue.clock()
        with about(key):
            result = await self._try(key)
        self.metrics.count_reconcile(result, self.queue.clock() - began)

    async def _try(self, key: Key) -> str:
        """Look at one job, and say how that went."""
        try:
            again = await self.reconcile_key(key)
        except LeaseLost:
            raise
        except Transient as error:
            log.info("%s/%s is tried again: %s", *key, error)
            self.queue.retry(key, least=error.after or 0.0)
        except (Refused, NameCollision) as error:
            log.warning("%s/%s can't go on: %s", *key, error)
            self.queue.retry(key)
        except Exception:  # a bug: loud, and tried again ever more seldom
            log.exception("looking at %s/%s failed", *key)
            self.queue.retry(key)
        else:
            self.queue.reset_backoff(key)
            if again is not None:
                self.queue.add_after(key, again, urgent=again == 0)
            return "success" if again is None else "requeue_after" if again else "requeue"
        return "error"

    async def reconcile_key(self, key: Key) -> float | None:
        """Observe, decide and do; gives the seconds until the job must be looked at again, if it must."""
        if not self.cache.needs_look(key):
            return None
        namespace, name = key
        resource = await self.cluster.get(KIND, name, namespace=namespace)
        if resource is None:
            self.forget(key)
            return None
        job = parse_job(resource)
        self._wake(self.cache.update(job))
        about_attempt(job)
        try:
            observation = await self.observer.observe(job, full=key in self._full or job.uid not in self._known)
        except NotUnderstood as error:
            await self._stop_acting(job, str(error))
            return None
        self._full.discard(key)
        self._known.add(job.uid)
        return await self._go_on(job, observation)

    async def _stop_acting(self, job: Job, problem: str) -> None:
        """Say why nothing is done about a job, and leave it at that until it changes."""
        log.warning("nothing is done: %s", problem)
        if not job.deleting:
            job = await self.executor.stop_acting(job, problem)
        self._wake(self.cache.update(job))
        self.cache.rest(job)

    async def _go_on(self, job: Job, observation: Observation) -> float | None:
        """Decide and do; once more from the same look while nothing but the status has changed by that."""
        while True:
            observation, plan = await self.decide(job, observation)
            plan, after = await self._carry_out(plan, job, observation.observed)
            again = self._rest(plan, job, observation.observed)
            changes_cluster = plan.create or plan.delete or plan.stop
            if again != 0 or plan.status is None or changes_cluster or not observation.still_valid(job, after):
                return again
            job = after
            about_attempt(job)

    async def decide(self, job: Job, observation: Observation) -> tuple[Observation, Plan]:
        """What is there, and what is to be done; nothing is made, deleted or asked to stop but on a thorough look."""
        observation, plan = self._reconcile(job, observation)
        if not observation.full and (plan.create or plan.delete or plan.stop):
            observation, plan = self._reconcile(job, await self.observer.observe(job, full=True))
        key, attempt = (job.namespace, job.name), observation.observed.attempt
        self.cache.hear(key, read_driver_metrics(job.status, attempt.channel))
        if observation.full:
            attempts = (attempt, *observation.observed.earlier)
            self.cache.set_children(key, (one.child.name for one in attempts if one.child))
        return observation, plan

    def forget(self, key: Key) -> None:
        """Forget a job that is gone."""
        uid = self.cache.uid(key)
        self._wake(self.cache.remove(key))
        self.queue.forget(key)
        self._turns.pop(key, None)
        self._full.discard(key)
        if uid:
            self.observer.forget(uid)
            self._known.discard(uid)

    def _reconcile(self, job: Job, observation: Observation) -> tuple[Observation, Plan]:
        """Decide, with what is known of other jobs at this moment."""
        observed = replace(
            observation.observed,
            competitors=self.cache.competitors(job),
            active_in_namespace=self.cache.active_beside(job),
            gpus_in_namespace=self.cache.gpus_beside(job),
        )
        observation = replace(observation, observed=observed)
        return observation, self.reconcile(job, observation.observed, now=self.clock(), settings=self.settings)

    async def _carry_out(self, plan: Plan, job: Job, observed: Observed) -> tuple[Plan, Job]:
        """Do what was decided, or what is decided where that is refused; gives the plan that was done, and the job.

        What the API server can't take for now is told in the job where that lasts; raises Transient all the same.
        """
        try:
            return plan, await self._execute(plan, job)
        except Transient as error:
            if plan.status is None:  # or the job as we know it is no longer what it is
                told = self._reconsider(job, observed, error)
                await self._execute(replace(told, create=(), delete=(), stop=None), job)
            raise
        except (Refused, NameCollision) as error:
            if plan.status is not None or not plan.create:  # the job as we know it is no longer what it is
                await self.executor.tell(Event("WriteRefused", str(error), "Warning"), job)
                raise
            log.warning("%s/%s waits: %s", job.namespace, job.name, error)
            plan = self._reconsider(job, observed, error)
            return plan, await self._execute(plan, job)

    def _reconsider(self, job: Job, observed: Observed, error: Refused | NameCollision | Transient) -> Plan:
        """Decide once more, knowing what the API server said."""
        observed = replace(observed, refusal=read_refusal(error))
        return self.reconcile(job, observed, now=self.clock(), settings=self.settings)

    async def _execute(self, plan: Plan, job: Job) -> Job:
        for why in plan.why:
            log.debug("%s", why)
        if plan.status is not None:
            # Before the first await: the next decision about another job must not give the same room away.
            self._wake(self.cache.update(replace(job, status=plan.status)))
        after = await self.executor.execute(plan, job)
        if plan.status is not None:
            self._wake(self.cache.update(after))
            self.metrics.count_change(job, plan.status)
        return after

    def _rest(self, plan: Plan, job: Job, observed: Observed) -> float | None:
        """When to look again; a job that asks for it at once too often in a row has to wait."""
        key = (job.namespace, job.name)
        if plan.requeue_after is None:
            self._turns.pop(key, None)
            if plan == Plan() and observed.attempt.child is None and not observed.earlier:
                self.cache.rest(job)
            return None
        if plan.requeue_after > 0:
            self._turns.pop(key, None)
            return plan.requeue_after
        turns = self._turns[key] = self._turns.get(key, 0) + 1
        if turns < _MOST_TURNS:
            return 0.0
        log.warning("does not come to rest: %s", "; ".join(plan.why))
        return _RESTLESS_SECONDS

    def _wake(self, keys: list[Key]) -> None:
        for key in keys:
            self.queue.add(key)
