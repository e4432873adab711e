"""The result of an attempt: the decider that records success, and what a result says.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

import re
from dataclasses import replace

from pydantic import ValidationError

from kubedistill.chain import CHAIN
from kubedistill.contract import StageResult
from kubedistill.contract.summaries import EvaluateSummary, Headline, PrepareSummary
from kubedistill.stages import LIVE
from kubedistill.v1alpha1 import ArtifactStatus, EstimateStatus, ModelStatus, Result, StageStatus, hub_models
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import end_attempt, fail_run
from kubedistill_operator.names import attempt_token
from kubedistill_operator.plan import Plan
from kubedistill_operator.status import with_run

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGITS = 6
"""Decimals of a figure in the status, which people read too."""


def record_success(context: ReconcileContext) -> Plan | None:
    """Record the valid result of the current attempt's owner, whatever the state of its child."""
    stage, result, channel = context.current, valid_result(context), context.observed.attempt.channel
    if stage is None or result is None or result.outcome != "Succeeded" or stage.state not in LIVE:
        return None
    plan = end_attempt(
        context,
        "Succeeded",
        message=result.message,
        percent=100,
        eta_seconds=0.0,
        starts=max(stage.starts, channel.starts) if channel is not None else stage.starts,
    )
    status = plan.status
    assert status is not None, "the end of an attempt writes a status"
    found = {one.name: one for one in status.run.artifacts} if status.run else {}
    found |= {
        name: ArtifactStatus(name=name, key=ref.key, complete=ref.complete, uri=ref.uri)
        for name, ref in result.artifacts.items()
    }
    status = with_run(status, artifacts=tuple(found.values()), models=_models(context, result))
    if stage.name == CHAIN[0].name:
        status = status.model_copy(update={"estimate": _estimate(result)})
    judged = _headline(stage, result)
    if judged is not None:
        status = status.model_copy(update={"result": make_result(judged)})
    plan = replace(plan, status=status)
    if stage.name == "Evaluate" and (judged is None or judged.gate is None or not judged.gate.passed):
        return fail_run(context, reason="EvaluationGate", message=_gate_message(judged), after=plan)
    return plan


def valid_result(context: ReconcileContext) -> StageResult | None:
    """Return the current attempt's result, if the driver that owns the attempt wrote it."""
    stage, channel = context.current, context.observed.attempt.channel
    if stage is None or not stage.child or channel is None or channel.result is None:
        return None
    owner = f"{attempt_token(stage.child, uid=context.job.uid)}:{channel.result.driver}"
    return channel.result if channel.owner == owner else None


def make_result(judged: Headline) -> Result:
    """Return the figures of a headline, rounded for people."""
    found = {name: getattr(judged, name) for name in Result.model_fields if name != "gate_passed"}
    figures: dict[str, float | None] = {
        name: None if value is None else round(value, _DIGITS) for name, value in found.items()
    }
    return Result(**figures, gate_passed=None if judged.gate is None else judged.gate.passed)


def _models(context: ReconcileContext, result: StageResult) -> tuple[ModelStatus, ...]:
    """Return the commits of the run's models: those that are recorded, and others that Prepare has found.

    A commit never changes within a run. Names that the spec does not have and commits that are none are left out:
    anybody with write access to the channel may have written them. Without them, as while the frozen run is not usable,
    each stage uses the commits that the store has.
    """
    assert context.status.run is not None
    known = {one.name: one for one in context.status.run.models}
    try:
        found = result.read_summary(PrepareSummary).models if context.chain_stage.name == CHAIN[0].name else {}
    except ValidationError:
        found = {}
    for name in hub_models(context.run.spec) if context.run is not None else ():
        if name not in known and _COMMIT.fullmatch(found.get(name, "")):
            known[name] = ModelStatus(name=name, commit=found[name])
    return tuple(known.values())


def _estimate(result: StageResult) -> EstimateStatus | None:
    """Return what the run will take, as Prepare has estimated it; None if it has not, or not in numbers."""
    try:
        estimate = result.read_summary(PrepareSummary).estimate
        return None if estimate is None else estimate.to_status()
    except ValidationError:  # anybody with write access to the channel may have written it
        return None


def _headline(stage: StageStatus, result: StageResult) -> Headline | None:
    """Return the headline of the report that a stage created or found; None if its summary has none."""
    try:
        if stage.name == "Evaluate":
            return result.read_summary(EvaluateSummary)
        return result.read_summary(PrepareSummary).report if stage.name == "Prepare" else None
    except ValidationError:  # anybody with write access to the channel may have written it; it harms only its own job
        return None


def _gate_message(judged: Headline | None) -> str:
    reasons = judged.gate.reasons if judged is not None and judged.gate is not None else []
    return "; ".join(reasons) or "the result does not state that the gate passed"
