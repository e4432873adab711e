"""Notes of a report: why a cost or a comparison of times is missing, and how the teacher answered."""

from kubedistill.report.models import Report


def cost_notes(report: Report) -> list[str]:
    """Return why costs are not known, as sentences without a period; empty if both are known."""
    unpriced = report.provenance.unpriced
    arms = {"teacher": report.arms.teacher, "student": report.arms.distilled}
    unknown = [name for name, arm in arms.items() if arm.cost_per_thousand is None]
    notes = [f"the {name}'s cost is unknown: {unpriced[name]}" for name in unknown if name in unpriced]
    without = [name for name in unknown if name not in unpriced]
    if without == list(arms):
        notes.append("cost is unknown without a price of the hardware")
    else:
        notes += [f"the {name}'s cost is unknown without a price of its hardware" for name in without]
    return notes


def time_notes(report: Report) -> list[str]:
    """Return why the students were not timed in turn, as a sentence without a period; empty if they were."""
    untimed = report.provenance.untimed
    return [f"the students were not timed in turn, but each in its own engine: {untimed}"] if untimed else []


def teacher_notes(report: Report) -> list[str]:
    """Return how many answers of the teacher were sampled, as a sentence without a period; empty if all were greedy."""
    number = report.provenance.sampled_answers
    if not number:
        return []
    what = "1 greedy answer of the teacher was" if number == 1 else f"{number:,} greedy answers of the teacher were"
    return [f"{what} sampled, because its endpoint refuses temperature 0, so another run would give other scores"]


def as_sentence(note: str) -> str:
    """Return a note with a capital and a period."""
    return f"{note[:1].upper()}{note[1:].rstrip('.')}."
