"""Estimates in words: the line about a run, and its times."""

from kubedistill.contract.estimates import Estimate


def estimate_line(estimate: Estimate) -> str:
    """Return what a run will take in one line; empty if the store has everything already."""
    total = estimate.total
    if total.reused:
        return ""
    return totals_line(total.seconds, gpu_hours=total.gpu_hours, dollars=total.dollars)


def totals_line(seconds: float | None, *, gpu_hours: float | None, dollars: float | None) -> str:
    """Return the line about an estimated time, GPU hours and dollars; no GPU hours if no GPU is held."""
    if seconds is None and gpu_hours is None and dollars is None:
        return "Estimate: not known"
    parts = ["time not known" if seconds is None else duration_text(seconds)]
    if gpu_hours:
        parts.append(f"{gpu_hours:,.1f} GPU hours")
    if dollars is not None:
        parts.append(f"${dollars:,.2f}")
    return f"Estimate: {', '.join(parts)}"


def duration_text(seconds: float) -> str:
    """Return a time in two units, such as 2 h 5 min or 40 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
