"""The context of one reconcile: a job, its observed state, the time and the settings, with what follows from them."""

from dataclasses import dataclass

from kubedistill.chain import STAGES, ArtifactName, Stage
from kubedistill.manifest.settings import Settings
from kubedistill.stages import TERMINAL, current_stage
from kubedistill.v1alpha1 import Spec, StageStatus, Status
from kubedistill_operator.decisions.run_snapshot import RunSnapshot
from kubedistill_operator.job import Job
from kubedistill_operator.observed import Attempt, Observed
from kubedistill_operator.status import Truth, with_condition


@dataclass(frozen=True, slots=True)
class ReconcileContext:
    """What one reconcile knows. `run` is the run as it was frozen; None before there is one."""

    job: Job
    observed: Observed
    now: float
    settings: Settings
    run: RunSnapshot | None

    @property
    def status(self) -> Status:
        """The status as it is now."""
        return self.job.status

    @property
    def live_spec(self) -> Spec | None:
        """The spec as the user has it now; in a run, only its live fields count."""
        return self.job.spec

    @property
    def is_over(self) -> bool:
        """Whether the run has ended for good."""
        return self.status.phase in TERMINAL and self.status.run is not None

    @property
    def current(self) -> StageStatus | None:
        """The first stage that is not done; None if all are."""
        return current_stage(self.status)

    @property
    def chain_stage(self) -> Stage:
        """The chain's entry of the current stage."""
        assert self.current is not None
        return STAGES[self.current.name]

    def complete(self, name: ArtifactName) -> bool:
        """Return whether the store is known to hold an artifact of the run completely."""
        return self.status.run is not None and any(
            one.complete for one in self.status.run.artifacts if one.name == name
        )

    def key(self, name: ArtifactName) -> str:
        """Return an artifact's key; empty before Prepare has computed it."""
        artifacts = self.status.run.artifacts if self.status.run else ()
        return next((one.key for one in artifacts if one.name == name), "")

    def set_condition(self, status: Status, kind: str, truth: Truth, *, reason: str, message: str = "") -> Status:
        """Return the status with one condition set, as of now."""
        generation = self.job.generation
        return with_condition(status, kind, truth, reason=reason, message=message, now=self.now, generation=generation)

    def runs(self, attempt: Attempt) -> bool:
        """Return whether anything of an attempt may still run."""
        if attempt.child is not None and attempt.child.state != "Ended":
            return True
        lost = self.settings.node_lost_seconds
        return any(not pod.is_gone(self.now, node_lost_seconds=lost) for pod in attempt.pods)
