"""Whether a gate can be decided: a limit on accuracy needs references."""

from collections.abc import Mapping
from typing import Any

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Gate, Spec
from kubedistill_runtime.checks.splits import MIN_RECORDS

_ON_ACCURACY = ("min_accuracy", "min_gain", "min_gap_closed", "min_retention")


def check_references(spec: Spec, *, judged: int) -> None:
    """Refuse limits on accuracy where too few references say which answer is right; raises InvalidManifest."""
    gate: Mapping[str, Any] = spec.evaluation.gate.model_dump()
    for field in _ON_ACCURACY:
        if judged < MIN_RECORDS["test"] and gate[field] is not None:
            name = Gate.model_fields[field].alias
            raise InvalidManifest(
                f"{judged} test records have a reference, and accuracy is known from {MIN_RECORDS['test']} up",
                at=f"spec.evaluation.gate.{name}",
                fix="Add references to the test records, or remove this limit",
            )
