"""Whether the student can be judged as requested: enough test records, and references for a limit on accuracy."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.checks.splits import MIN_RECORDS
from kubedistill_runtime.evaluation.gate import RULES


def check_sample_limit(spec: Spec) -> None:
    """Check that the sample of test records is large enough; raises InvalidManifest."""
    limit = spec.evaluation.sample_limit
    if limit is not None and limit < MIN_RECORDS["test"]:
        raise InvalidManifest(
            f"{limit} test records are too few for an evaluation; at least {MIN_RECORDS['test']} are needed",
            at="spec.evaluation.sampleLimit",
            fix=f"Raise it to {MIN_RECORDS['test']} or more, or remove it to use all test records",
        )


def check_references(spec: Spec, *, judged: int) -> None:
    """Check that there are enough references for limits on accuracy; raises InvalidManifest."""
    gate = spec.evaluation.gate
    limits = gate.model_dump()
    sampled = " that are evaluated" if spec.evaluation.sample_limit else ""
    more = ", raise evaluation.sampleLimit" if spec.evaluation.sample_limit else ""
    for field, rule in RULES.items():
        if rule.needs_references and judged < MIN_RECORDS["test"] and limits[field] is not None:
            name = type(gate).model_fields[field].alias
            raise InvalidManifest(
                f"{judged} test records{sampled} have a reference, but accuracy needs at least {MIN_RECORDS['test']}",
                at=f"spec.evaluation.gate.{name}",
                fix=f"Add references to the test records{more}, or remove this limit",
            )
