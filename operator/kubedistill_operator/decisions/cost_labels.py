"""Cost labels: labels of the namespace and the job that a run's children, pods and metrics carry too."""

from collections.abc import Mapping

from kubedistill_operator.decisions.context import ReconcileContext


def cost_labels(context: ReconcileContext) -> dict[str, str]:
    """Return the labels that settings.propagateLabels names; the namespace's win, since tenants label jobs."""
    found = context.observed.namespace_labels
    own: Mapping[str, str] = context.job.metadata.get("labels") or {}
    keys = context.settings.propagate_labels
    return {key: value for key in keys if (value := found.get(key, own.get(key))) is not None}
