"""Whatever happens, in whatever order: the promises that no table can list."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kubedistill.chain import CHAIN, STAGES, StageName
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.observed import Pod
from world import World, small_spec

DONE = ("Succeeded", "Skipped")
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


class AnyJob(RuleBasedStateMachine):
    """One job, a hostile cluster, and an operator that is killed between any two writes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.seen: dict[str, StageStatus] = {}
        self.run_id = ""
        self.was_over = ""
        self.adopted: set[str] = set()

    @initialize(done=st.integers(0, len(CHAIN)))
    def some_stages_went_well(self, done: int) -> None:
        for stage in CHAIN[:done]:
            self.world.complete_stage(stage.name)

    # The operator.

    @rule(killed_after=st.integers(0, 8))
    def reconcile(self, killed_after: int) -> None:
        self._step(until=killed_after)

    @rule()
    def reconcile_until_nothing_is_left(self) -> None:
        for _ in range(60):
            before = (self.world.status, tuple(self.world.children), self.world.writes)
            self._step()
            if (self.world.status, tuple(self.world.children), self.world.writes) == before:
                return
        raise AssertionError("no fixed point is reached")

    def _step(self, *, until: int = 99) -> None:
        world, children, before = self.world, set(self.world.children), self.world.status
        live = {name for name in {*world.children, *world.pods} if self._may_run(name)}
        world.step(until=until)
        assert self._charged(world.status) - self._charged(before) <= 1, "a budget is charged one at a time"
        made = set(world.children) - children
        assert len(made) <= 1
        for name in made:
            assert not self._in_the_way(world.jobs[name].stage, live), f"{name} was made while {live} may still run"
        assert not made & self.adopted, f"{made} was there before; a new attempt has a new name"
        self.adopted |= {stage.child for stage in world.status.stages if stage.child_uid}

    @staticmethod
    def _charged(status: Status) -> int:
        charges = (stage.restarts for stage in status.stages)
        return sum(one.failure + one.infrastructure + one.preemption for one in charges)

    def _in_the_way(self, stage: StageName, live: set[str]) -> set[str]:
        """Which of those that may run must be gone before an attempt at a stage is made."""
        if stage == CHAIN[0].name:
            return live
        if not STAGES[stage].accelerated:
            return {name for name in live if self.world.jobs[name].stage == stage}
        return {name for name in live if name not in self.world.children or self.world.children[name].kind == "RayJob"}

    def _may_run(self, name: str) -> bool:
        child = self.world.children.get(name)
        pods = self.world.pods.get(name, ())
        return (child is not None and child.state != "Ended") or any(
            not pod.is_gone(self.world.now, node_lost_seconds=300) for pod in pods
        )

    # The world.

    @rule(seconds=st.sampled_from([1, 10, 31, 61, 400, 4000, -50]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += seconds

    @precondition(lambda self: self._child())
    @rule()
    def a_second_driver_claims_after_a_last_word(self) -> None:
        name = self._child()
        channel = self.world.channels.get(name)
        if channel is None or channel.result is not None or self.world.children[name].state != "Running":
            return
        self.world.result(name, driver=channel.owner.rpartition(":")[2])
        self.world.claim(name, driver="d8")
        self._step()

    @precondition(lambda self: self._child())
    @rule(driver=st.sampled_from(["d1", "d2", "d3"]))
    def driver_starts(self, driver: str) -> None:
        name = self._child()
        if name in self.world.channels and self.world.children[name].state != "Ended":
            self.world.run_child(name, driver=driver)

    @precondition(lambda self: self._child())
    @rule(done=st.integers(0, 200), total=st.sampled_from([0, 100]))
    def driver_works(self, done: int, total: int) -> None:
        if self._child() in self.world.channels:
            self.world.progress(self._child(), done=done, total=total)

    @precondition(lambda self: self._child())
    @rule(
        driver=st.sampled_from(["d1", "d2", "d3"]),
        outcome=st.sampled_from(["Succeeded", "Failed", "Stopped"]),
        cause=CAUSES,
    )
    def driver_ends(self, driver: str, outcome: str, cause: str) -> None:
        name = self._child()
        channel = self.world.channels.get(name)
        if channel is None or channel.result is not None or name not in self.world.jobs:
            return
        if channel.owner.endswith(f":{driver}"):  # the API server refuses a write of anybody else
            self.world.result(name, driver=driver, outcome=outcome, cause=cause, reason="Why")

    @precondition(lambda self: self._child())
    @rule(pods_linger=st.booleans(), killed_after=st.integers(1, 8))
    def a_stage_goes_well(self, pods_linger: bool, killed_after: int) -> None:
        name = self._child()
        channel = self.world.channels.get(name)
        if channel is None or channel.result is not None or self.world.children[name].state == "Ended":
            return
        self.world.run_child(name, driver="d9")
        self._step()
        self.world.result(name, driver="d9")
        if not pods_linger:
            self.world.end_child(name)
        self._step(until=killed_after)

    @precondition(lambda self: self._child())
    @rule(change=ENDS)
    def child_ends(self, change: dict) -> None:
        name = self._child()
        if change.get("evicted"):
            self.world.children[name] = replace(self.world.children[name], state="Waiting", **change)
        else:
            self.world.end_child(name, **change)

    @precondition(lambda self: self._child())
    @rule()
    def somebody_deletes_the_child(self) -> None:
        del self.world.children[self._child()]

    @precondition(lambda self: self.world.pods)
    @rule(data=st.data())
    def pods_end(self, data: st.DataObject) -> None:
        self.world.pods.pop(data.draw(st.sampled_from(sorted(self.world.pods))))

    @precondition(lambda self: self._child())
    @rule(reason=st.sampled_from(["Unschedulable", "ImagePullBackOff", "CreateContainerConfigError"]))
    def pods_wait(self, reason: str) -> None:
        name = self._child()
        if self.world.children[name].state == "Waiting":
            self.world.pods[name] = (Pod("p", "u", "Pending", self.world.now, waiting_reason=reason),)

    @precondition(lambda self: self._child())
    @rule(admitted=st.booleans())
    def queue_decides(self, admitted: bool) -> None:
        child = self.world.children[self._child()]
        if child.state == "Waiting":
            self.world.children[child.name] = replace(child, admitted=admitted)

    @rule()
    def an_artifact_vanishes(self) -> None:
        self.world.stored.discard("answers")

    # The user.

    @rule(suspend=st.booleans(), epochs=st.sampled_from([3, 5]), run_id=st.sampled_from([None, None, "a", "b"]))
    def user_edits(self, suspend: bool, epochs: int, run_id: str | None) -> None:
        changes = {"suspend": suspend, "training": {"epochs": epochs}} | ({"runID": run_id} if run_id else {})
        self.world.spec = small_spec(**changes)
        self.world.generation += 1

    @rule(verb=st.sampled_from(["rerun", "cancel"]), token=st.sampled_from(["x", "y"]))
    def user_annotates(self, verb: str, token: str) -> None:
        self.world.annotations[f"kubedistill.io/{verb}"] = token

    def _child(self) -> str:
        """The current attempt's child, if it is there."""
        current = next((one for one in self.world.status.stages if one.state not in DONE), None)
        return current.child if current is not None and current.child in self.world.children else ""

    # The promises.

    @invariant()
    def nothing_goes_back(self) -> None:
        status = self.world.status
        run = status.run
        if run is None or run.id != self.run_id:
            self.run_id, self.seen, self.was_over = (run.id if run else ""), {}, ""
        if self.was_over:
            assert status.phase == self.was_over, "a terminal phase is final within a run"
        if status.phase in ("Succeeded", "Failed"):
            self.was_over = status.phase
        for stage in status.stages:
            before = self.seen.get(stage.name)
            if before is None:
                continue
            assert stage.attempt >= before.attempt
            for cause in ("failure", "infrastructure", "preemption"):
                assert getattr(stage.restarts, cause) >= getattr(before.restarts, cause)
            if before.state in DONE and stage.state not in DONE:
                assert stage.name == "Prepare" or (run is not None and run.rewound)
        self.seen = {stage.name: stage for stage in status.stages}

    @invariant()
    def every_attempt_and_every_further_driver_is_charged_once_at_most(self) -> None:
        for stage in self.world.status.stages:
            charged = stage.restarts.failure + stage.restarts.infrastructure + stage.restarts.preemption
            names = [name for name, job in self.world.jobs.items() if job.stage == stage.name]
            drivers = [self.world.channels[name].starts for name in names if name in self.world.channels]
            most = stage.attempt + sum(max(0, starts - 1) for starts in drivers)
            assert charged <= most, f"{stage.name} was charged {charged} times for {stage.attempt} attempts, {drivers}"

    @invariant()
    def success_needs_a_result_of_the_owner(self) -> None:
        for stage in self.world.status.stages:
            if stage.state == "Succeeded" and stage.child in self.world.channels:
                result = self.world.channels[stage.child].result
                assert result is not None
                assert result.outcome == "Succeeded"
                assert self.world.channels[stage.child].owner.endswith(f":{result.driver}")

    @invariant()
    def conditions_agree(self) -> None:
        truths = {one.type: one.status for one in self.world.status.conditions}
        assert not (truths.get("Complete") == "True" and truths.get("Failed") == "True")
        assert len(truths) == len(self.world.status.conditions)
        assert not ("Reconciling" in truths and "Stalled" in truths)


TestAnyJob = AnyJob.TestCase
TestAnyJob.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
