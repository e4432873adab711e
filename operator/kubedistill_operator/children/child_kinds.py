"""The kind of child of each stage: a RayJob for engines and training workers, else a Job."""

from kubedistill.chain import StageName
from kubedistill.placement.layout import RAY_STAGES
from kubedistill.v1alpha1 import Spec
from kubedistill_operator.observed import ChildKind


def child_kind(stage: StageName, spec: Spec) -> ChildKind:
    """Return the kind of child of a stage: a RayJob for engines and for training workers, else a Job."""
    needs_no_engine = stage == "Generate" and all(teacher.model is None for teacher in spec.teachers)
    return "Job" if needs_no_engine else child_kinds(stage)[0]


def child_kinds(stage: StageName) -> tuple[ChildKind, ...]:
    """Return the kinds that the child of a stage can have, whatever the spec; the usual one is first."""
    if stage == "Generate":
        return ("RayJob", "Job")
    return ("RayJob",) if stage in RAY_STAGES else ("Job",)
