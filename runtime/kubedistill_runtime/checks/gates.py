"""Whether the student can be judged as asked: enough test records, and references for a limit on accuracy."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.checks.splits import MIN_RECORDS
from kubedistill_runtime.evaluation.gate import RULES


def check_sample_limit(spec: Spec) -> None:
    """Refuse a sample of test records that is too small to judge by; raises InvalidManifest."""
    limit = spec.evaluation.sample_limit
    if limit is not None and limit < MIN_RECORDS["test"]:
        raise InvalidManifest(
            f"{limit} test records are too few to judge by; at least {MIN_RECORDS['test']} are needed",
            at="spec.evaluation.sampleLimit",
            fix=f"Raise it to {MIN_RECORDS['test']} or more, or remove it to judge by all test records",
        )


def check_references(spec: Spec, *, judged: int) -> None:
    """Refuse limits on accuracy where too few references say which answer is right; raises InvalidManifest."""
    gate = spec.evaluation.gate
    limits = gate.model_dump()
    sampled = " that are judged" if spec.evaluation.sample_limit else ""
    more = ", raise evaluation.sampleLimit" if spec.evaluation.sample_limit else ""
    for field, rule in RULES.items():
        if rule.needs_references and judged < MIN_RECORDS["test"] and limits[field] is not None:
            name = type(gate).model_fields[field].alias
            raise InvalidManifest(
                f"{judged} test records{sampled} have a reference, and accuracy is known from {MIN_RECORDS['test']} up",
                at=f"spec.evaluation.gate.{name}",
                fix=f"Add references to the test records{more}, or remove this limit",
            )
