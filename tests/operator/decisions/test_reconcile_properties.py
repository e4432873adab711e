"""Whatever happens, in whatever order: the promises that no table can list."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kubedistill.chain import CHAIN
from kubedistill.manifest.settings import Resources
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.children.child_kinds import child_kind
from kubedistill_operator.decisions.ends import GRACEFUL
from kubedistill_operator.observed import Competitor, Pod
from kubedistill_operator.plan import Plan
from kubedistill_operator.status import is_true
from support.fake_cluster import SETTINGS, FakeCluster, small_spec

DONE = ("Succeeded", "Skipped")
OVER = ("Succeeded", "Failed")
LIVE = ("Starting", "Running", "Stopping")
CAUSES = st.sampled_from(["user", "failure", "infrastructure", "preemption", "nonsense"])
ENDS = st.sampled_from(
    [
        {},
        {"reason": "ValidationFailed"},
        {"reason": "DeadlineExceeded"},
        {"reason": "SubmissionFailed"},
        {"evicted": True},
    ]
)


def is_under_way(stage: StageStatus) -> bool:
    """Return whether the end of its attempt has not been told yet."""
    return stage.state in LIVE and (stage.state != "Stopping" or stage.reason in GRACEFUL)


def is_over(status: Status) -> bool:
    return is_true(status, "Complete") or is_true(status, "Failed")


def stage_of(child: str) -> str:
    """Return the stage of a child, which its name holds: a crash may have come before its work was written."""
    return child.split("-")[-2].capitalize()


class AnyJob(RuleBasedStateMachine):
    """One job, a hostile cluster, and an operator that is killed between any two writes."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = FakeCluster()
        self.seen: dict[str, StageStatus] = {}
        self.run_id = ""
        self.was_over = ""
        self.active_seconds = 0.0
        self.adopted: set[str] = set()
        self.forged: set[str] = set()
        self.snapshots: dict[str, str] = {}
        self.said: dict[str, float] = {}
        """GPU-seconds that the running driver reports, by child."""
        self.spent: dict[str, float] = {}
        """GPU-seconds that all drivers have really had, by child."""

    @initialize(done=st.integers(0, len(CHAIN)))
    def some_stages_went_well(self, done: int) -> None:
        for stage in CHAIN[:done]:
            self.cluster.complete_stage(stage.name)

    # The operator.

    @rule(killed_after=st.integers(0, 8))
    def reconcile(self, killed_after: int) -> None:
        self._step(until=killed_after)

    @rule()
    def reconcile_until_nothing_is_left(self) -> None:
        for _ in range(60):
            before = (self.cluster.status, tuple(self.cluster.children), self.cluster.writes)
            self._step()
            if (self.cluster.status, tuple(self.cluster.children), self.cluster.writes) == before:
                return
        raise AssertionError("no fixed point is reached")

    def _step(self, *, until: int = 99) -> None:
        cluster, children, before = self.cluster, set(self.cluster.children), self.cluster.status
        live = {name for name in {*cluster.children, *cluster.pods} if self._may_run(name)}
        plan = cluster.step(until=until)
        if cluster.deleting:
            assert not plan.create, "nothing is made for a job that is being deleted"
            assert "orphan" not in cluster.finalizers or plan == Plan()
        self._check_told(before, plan)
        assert self._charged(cluster.status) - self._charged(before) <= 1, "a budget is charged one at a time"
        made = set(cluster.children) - children
        assert len(made) <= 1
        for name in made:
            assert not self._in_the_way(stage_of(name), live), f"{name} was made while {live} may still run"
        frozen = cluster.frozen_run
        assert not made or (frozen is not None and frozen.name not in self.forged), "made from a forged run"
        assert not made & self.adopted, f"{made} was there before; a new attempt has a new name"
        self.adopted |= {stage.child for stage in cluster.status.stages if stage.child_uid}

    @staticmethod
    def _check_told(before: Status, plan: Plan) -> None:
        """What a plan ends it tells: each attempt by one Event, and each run by one."""
        if plan.status is None:
            return
        told = [event.reason for event in plan.events]
        after = {stage.name: stage for stage in plan.status.stages}
        for stage in before.stages:
            new = after.get(stage.name)
            ends = told.count("StageSucceeded") + told.count("AttemptFailed") + told.count("AttemptStopped")
            if new is None or not is_under_way(stage) or is_under_way(new):
                ends -= told.count("StageSucceeded")  # of an attempt that was given up and spoke after all
                assert ends == 0 or any(is_under_way(one) for one in before.stages), told
            else:
                assert ends == 1, told
        run_ends = sum(told.count(f"Run{end}") for end in ("Succeeded", "Failed", "Cancelled", "Superseded"))
        ended = before.run is not None and (is_over(plan.status) or plan.status.run is None)
        assert run_ends == (1 if ended and not is_over(before) else 0), told

    @staticmethod
    def _charged(status: Status) -> int:
        charges = (stage.restarts for stage in status.stages)
        return sum(one.failure + one.infrastructure + one.preemption for one in charges)

    def _in_the_way(self, stage: str, live: set[str]) -> set[str]:
        """Return which of those that may run must be gone before an attempt at a stage is made."""
        if stage == CHAIN[0].name:
            return live
        if child_kind(stage, small_spec()) == "Job":
            return {name for name in live if stage_of(name) == stage}
        return {
            name for name in live if name not in self.cluster.children or self.cluster.children[name].kind == "RayJob"
        }

    def _may_run(self, name: str) -> bool:
        child = self.cluster.children.get(name)
        pods = self.cluster.pods.get(name, ())
        return (child is not None and child.state != "Ended") or any(
            not pod.is_gone(self.cluster.now, node_lost_seconds=300) for pod in pods
        )

    # The world.

    @rule(seconds=st.sampled_from([1, 10, 31, 61, 400, 4000, -50]))
    def time_passes(self, seconds: int) -> None:
        self.cluster.now += seconds

    @precondition(lambda self: self._child())
    @rule()
    def a_second_driver_claims_after_a_last_word(self) -> None:
        name = self._child()
        channel = self.cluster.channels.get(name)
        if channel is None or channel.result is not None or self.cluster.children[name].state != "Running":
            return
        self.cluster.result(name, driver=channel.owner.rpartition(":")[2])
        self.cluster.claim(name, driver="d8")
        self._step()

    @precondition(lambda self: self._child())
    @rule(driver=st.sampled_from(["d1", "d2", "d3"]), of_0_1=st.booleans())
    def driver_starts(self, driver: str, of_0_1: bool) -> None:
        name = self._child()
        if self._can_start(name) and self.cluster.children[name].state != "Ended":
            self.cluster.run_child(name, driver=driver)
            if of_0_1:  # then it counts from 0; ours count on from what the one before it said
                self.said[name] = 0.0

    @precondition(lambda self: self._child())
    @rule(done=st.integers(0, 200), total=st.sampled_from([0, 100]), seconds=st.sampled_from([0.0, 0.0004, 7.0, 900.0]))
    def driver_works(self, done: int, total: int, seconds: float) -> None:
        if self._can_start(self._child()):
            spent = self._spend(seconds)
            self.cluster.progress(self._child(), done=done, total=total, gpu_seconds=spent, idle_gpu_seconds=spent / 2)

    def _can_start(self, name: str) -> bool:
        """Have a driver's pod wait for the ConfigMap of its job, which is made last."""
        assert name not in self.cluster.jobs or name in self.cluster.channels, "whoever starts finds its channel"
        return name in self.cluster.jobs

    def _spend(self, seconds: float) -> float:
        """Have the running driver report GPU-seconds, and return what it reports."""
        name = self._child()
        self.spent[name] = self.spent.get(name, 0.0) + seconds
        self.said[name] = self.said.get(name, 0.0) + seconds
        return self.said[name]

    @precondition(lambda self: self._child())
    @rule(
        driver=st.sampled_from(["d1", "d2", "d3"]),
        outcome=st.sampled_from(["Succeeded", "Failed", "Stopped"]),
        cause=CAUSES,
    )
    def driver_ends(self, driver: str, outcome: str, cause: str) -> None:
        name = self._child()
        channel = self.cluster.channels.get(name)
        if channel is None or channel.result is not None or name not in self.cluster.jobs:
            return
        if channel.owner.endswith(f":{driver}"):  # the API server refuses a write of anybody else
            spent = self._spend(3.0)
            self.cluster.result(name, driver=driver, outcome=outcome, cause=cause, reason="Why", gpu_seconds=spent)

    @precondition(lambda self: self._child())
    @rule(pods_linger=st.booleans(), killed_after=st.integers(1, 8))
    def a_stage_goes_well(self, pods_linger: bool, killed_after: int) -> None:
        name = self._child()
        channel = self.cluster.channels.get(name)
        if channel is None or channel.result is not None or self.cluster.children[name].state == "Ended":
            return
        if not self._can_start(name):
            return
        self.cluster.run_child(name, driver="d9")
        self._step()
        self.cluster.result(name, driver="d9")
        if not pods_linger:
            self.cluster.end_child(name)
        self._step(until=killed_after)

    @precondition(lambda self: self._child())
    @rule(change=ENDS)
    def child_ends(self, change: dict) -> None:
        name = self._child()
        if change.get("evicted"):
            self.cluster.children[name] = replace(self.cluster.children[name], state="Waiting", **change)
        else:
            self.cluster.end_child(name, **change)

    @precondition(lambda self: self._child())
    @rule()
    def somebody_deletes_the_child(self) -> None:
        del self.cluster.children[self._child()]

    @precondition(lambda self: self.cluster.pods)
    @rule(data=st.data())
    def pods_end(self, data: st.DataObject) -> None:
        self.cluster.pods.pop(data.draw(st.sampled_from(sorted(self.cluster.pods))))

    @precondition(lambda self: self._child())
    @rule(reason=st.sampled_from(["Unschedulable", "ImagePullBackOff", "CreateContainerConfigError"]))
    def pods_wait(self, reason: str) -> None:
        name = self._child()
        if self.cluster.children[name].state == "Waiting":
            self.cluster.pods[name] = (Pod("p", "u", "Pending", self.cluster.now, waiting_reason=reason),)

    @precondition(lambda self: self._child())
    @rule(admitted=st.booleans())
    def queue_decides(self, admitted: bool) -> None:
        child = self.cluster.children[self._child()]
        if child.state == "Waiting":
            self.cluster.children[child.name] = replace(child, admitted=admitted)

    @rule()
    def an_artifact_vanishes(self) -> None:
        self.cluster.stored.discard("answers")

    @rule(at_work=st.booleans(), made=st.booleans())
    def another_job_goes_on(self, at_work: bool, made: bool) -> None:
        keys = {name: f"key-{name}" for name in ("answers", "judge", "student")}
        other = Competitor("team", "other", "u", keys=keys if at_work else {}, made=keys if made else {})
        self.cluster.competitors = (replace(other, made_at=self.cluster.now),)
        if made:
            self.cluster.stored |= set(keys)

    @rule(forgery=st.sampled_from(["deleted", "swapped", "restored"]))
    def somebody_touches_the_frozen_run(self, forgery: str) -> None:
        found = self.cluster.frozen_run
        if found is None:
            return
        if forgery == "deleted" or found.name in self.forged:
            del self.cluster.frozen[found.name]
            self.forged.discard(found.name)
        elif forgery == "swapped":
            self.cluster.frozen[found.name] = replace(found, snapshot="forged", values={**found.values, "pools": {}})
            self.forged.add(found.name)

    @rule(cores=st.sampled_from(["2", "3"]))
    def the_platform_edits_the_settings(self, cores: str) -> None:
        self.cluster.settings = SETTINGS.model_copy(update={"cpu_resources": Resources(cpu=cores)})

    # The user.

    @rule(
        suspend=st.booleans(),
        epochs=st.sampled_from([3, 5]),
        run_id=st.sampled_from([None, None, "a", "b"]),
        budget=st.sampled_from([None, {"gpuHours": 0.1}, {"gpuHours": 1, "dollars": 2}]),
    )
    def user_edits(self, suspend: bool, epochs: int, run_id: str | None, budget: dict[str, float] | None) -> None:
        changes = {"suspend": suspend, "training": {"epochs": epochs}} | ({"runID": run_id} if run_id else {})
        changes |= {} if budget is None else {"budget": budget}
        self.cluster.spec = small_spec(**changes)
        self.cluster.generation += 1

    @rule(verb=st.sampled_from(["rerun", "cancel"]), token=st.sampled_from(["x", "y"]))
    def user_annotates(self, verb: str, token: str) -> None:
        self.cluster.annotations[f"kubedistill.io/{verb}"] = token

    @precondition(lambda self: not self.cluster.deleting)
    @rule(chance=st.integers(0, 9), finalizers=st.sampled_from([("a/b",), ("foregroundDeletion", "a/b"), ("orphan",)]))
    def user_deletes(self, chance: int, finalizers: tuple[str, ...]) -> None:
        if chance == 0:  # there is no way back
            self.cluster.deleting, self.cluster.finalizers = True, finalizers

    @precondition(lambda self: self.cluster.deleting and "orphan" not in self.cluster.finalizers)
    @rule()
    def a_deletion_leaves_nothing(self) -> None:
        for _ in range(3):
            self.cluster.pods.clear()
            self.reconcile_until_nothing_is_left()
            self.cluster.now += 61
        assert not self.cluster.children
        assert self.cluster.status.phase == "Deleting"

    def _child(self) -> str:
        """Return the current attempt's child, if it is there."""
        current = next((one for one in self.cluster.status.stages if one.state not in DONE), None)
        return current.child if current is not None and current.child in self.cluster.children else ""

    # The promises.

    @invariant()
    def nothing_goes_back(self) -> None:
        status = self.cluster.status
        run = status.run
        if run is None or run.id != self.run_id:
            self.run_id, self.seen, self.was_over = (run.id if run else ""), {}, ""
            self.active_seconds = 0.0
        if self.was_over and not self.cluster.deleting:
            assert status.phase == self.was_over, "a terminal phase is final within a run"
        if status.phase in ("Succeeded", "Failed"):
            self.was_over = status.phase
        for stage in status.stages:
            before = self.seen.get(stage.name)
            if before is None:
                continue
            assert stage.attempt >= before.attempt
            assert stage.gpu_seconds >= before.gpu_seconds, "accounts never fall"
            assert (stage.idle_gpu_seconds or 0.0) >= (before.idle_gpu_seconds or 0.0)
            for cause in ("failure", "infrastructure", "preemption"):
                assert getattr(stage.restarts, cause) >= getattr(before.restarts, cause)
            if before.state in DONE and stage.state not in DONE:
                assert stage.name == "Prepare" or (run is not None and run.rebuilt)
        if run is not None:
            assert run.active_seconds >= self.active_seconds, "accounts never fall"
            self.active_seconds = run.active_seconds
        self.seen = {stage.name: stage for stage in status.stages}

    @invariant()
    def a_run_that_has_begun_keeps_its_snapshot(self) -> None:
        run = self.cluster.status.run
        if run is not None and run.begun_at:
            assert run.snapshot_digest == self.snapshots.setdefault(run.id, run.snapshot_digest)

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        for stage in self.cluster.status.stages:
            names = [name for name, job in self.cluster.jobs.items() if job.stage == stage.name]
            assert stage.gpu_seconds <= sum(self.spent.get(name, 0.0) for name in names) + 0.01
            assert (stage.latest_gpu_seconds or 0.0) <= stage.gpu_seconds
            assert (stage.idle_gpu_seconds or 0.0) <= stage.gpu_seconds + 0.01

    @invariant()
    def every_attempt_and_every_further_driver_is_charged_once_at_most(self) -> None:
        for stage in self.cluster.status.stages:
            charged = stage.restarts.failure + stage.restarts.infrastructure + stage.restarts.preemption
            names = [name for name, job in self.cluster.jobs.items() if job.stage == stage.name]
            drivers = [self.cluster.channels[name].starts for name in names if name in self.cluster.channels]
            most = stage.attempt + sum(max(0, starts - 1) for starts in drivers)
            assert charged <= most, f"{stage.name} was charged {charged} times for {stage.attempt} attempts, {drivers}"

    @invariant()
    def success_needs_a_result_of_the_owner(self) -> None:
        for stage in self.cluster.status.stages:
            if stage.state == "Succeeded" and stage.child in self.cluster.channels:
                result = self.cluster.channels[stage.child].result
                assert result is not None
                assert result.outcome == "Succeeded"
                assert self.cluster.channels[stage.child].owner.endswith(f":{result.driver}")

    @invariant()
    def conditions_agree(self) -> None:
        truths = {one.type: one.status for one in self.cluster.status.conditions}
        assert not (truths.get("Complete") == "True" and truths.get("Failed") == "True")
        assert len(truths) == len(self.cluster.status.conditions)
        assert not ("Reconciling" in truths and "Stalled" in truths)
        over = "Failed" if truths.get("Failed") == "True" else "Succeeded" if truths.get("Complete") == "True" else ""
        phase = self.cluster.status.phase
        assert phase == "Deleting" or over == (phase if phase in OVER else "")
        if over:
            assert truths.get("Progressing") == "False"
            assert truths.get("Suspended") != "True"
            assert truths.get("QuotaReserved") != "False"
            assert not [stage.name for stage in self.cluster.status.stages if stage.state in LIVE]


TestAnyJob = AnyJob.TestCase
TestAnyJob.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
