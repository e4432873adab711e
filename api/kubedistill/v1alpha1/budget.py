"""The budget of a run: how much it may spend."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from kubedistill.v1alpha1.base import Model, cel

_NO_LIMIT = "a budget has dollars, gpuHours or both"


class Budget(Model):
    """What one run may spend; the first limit that is reached suspends the run."""

    model_config = ConfigDict(json_schema_extra=cel(("has(self.dollars) || has(self.gpuHours)", _NO_LIMIT)))

    dollars: Annotated[float | None, Field(gt=0, le=1e9)] = None
    """US dollars for GPUs, at the prices of their pools, and for endpoints, at their prices; each must have one. On one
    machine, only endpoints count."""
    gpu_hours: Annotated[float | None, Field(gt=0, le=1e9)] = None
    """GPUs that are held, times hours."""

    def describe_end(self, *, gpu_hours: float, dollars: float) -> str:
        """Return which limits have been reached by what a run has spent; empty if none has been."""
        limits = (
            ("gpuHours", "GPU-hours", gpu_hours, self.gpu_hours),
            ("dollars", "US dollars", dollars, self.dollars),
        )
        return "; ".join(
            f"{_number(spent)} {unit} are spent, and spec.budget.{field} is {_number(limit)}"
            for field, unit, spent, limit in limits
            if limit is not None and spent >= limit
        )

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.dollars is None and self.gpu_hours is None:
            raise ValueError(f"{_NO_LIMIT}; Set one of them, or remove budget")
        return self


def _number(value: float) -> str:
    """Return a number with two decimals, or with more if it is small and none if it is whole."""
    return f"{value:,.2f}".removesuffix(".00") if value >= 1 else f"{value:.4g}"
