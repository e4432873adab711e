"""The budget of a run: what the run has spent, and why that keeps it from continuing.

A decision follows from spec, status and the latest report of a driver, so it is the same after a change of the leader.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kubedistill.chain import StageName
from kubedistill.errors import InvalidInput
from kubedistill.placement.prices import price_stages
from kubedistill.stages import LIVE
from kubedistill.v1alpha1 import Status
from kubedistill_operator.decisions.accounting import count_usage
from kubedistill_operator.decisions.context import ReconcileContext


@dataclass(frozen=True, slots=True)
class Hold:
    """Why the budget keeps a run from continuing."""

    reason: str
    message: str


def find_hold(context: ReconcileContext) -> Hold | None:
    """Return why the budget keeps the run from continuing; None if it does not.

    Without the frozen run the prices of its pools are not known, and nothing begins; until it is there again, a driver
    that runs is limited by gpuHours alone.
    """
    stage, run = context.current, context.run
    spec = context.live_spec or (run.spec if run is not None else None)
    budget = spec.budget if spec is not None else None
    if budget is None or stage is None or context.status.run is None:
        return None
    prices: Mapping[StageName, float] = {}
    if budget.dollars is not None and run is not None:
        try:
            prices = _find_prices(context)
        except InvalidInput as error:  # the run was started without this budget, and its prices are frozen
            return Hold(error.reason, str(error))
    status = count_usage(context) if stage.state in LIVE else context.status
    end = budget.describe_end(gpu_hours=_gpu_hours(status), dollars=_sum_dollars(status, prices))
    return Hold(reason="BudgetSpent", message=f"{end}; raise it to continue") if end else None


def describe_dollars(context: ReconcileContext, status: Status) -> str:
    """Return the US dollars of the run so far, for people; empty if a price is not known."""
    if status.run is None:
        return ""
    if context.run is None or context.status.run is None or context.status.run.id != status.run.id:
        return status.dollars
    try:
        return f"{_sum_dollars(status, _find_prices(context)):,.2f}"
    except InvalidInput:
        return ""


def _find_prices(context: ReconcileContext) -> Mapping[StageName, float]:
    assert context.run is not None, "prices are those of a run"
    return price_stages(context.run.spec, namespace=context.job.namespace, pools=context.run.settings.pools)


def _gpu_hours(status: Status) -> float:
    return sum(stage.gpu_seconds for stage in status.stages) / 3600


def _sum_dollars(status: Status, prices: Mapping[StageName, float]) -> float:
    """Return what GPUs and endpoints have cost; `prices` are US dollars per hour of one GPU."""
    gpus = sum(stage.gpu_seconds / 3600 * prices.get(stage.name, 0.0) for stage in status.stages)
    return gpus + sum(stage.endpoint_dollars or 0.0 for stage in status.stages)
