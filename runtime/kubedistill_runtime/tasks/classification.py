"""Classification: one label out of a list. NLI is the same with three labels of its own."""

from collections.abc import Sequence

from kubedistill_runtime.tasks.task import Task, check_single_turn


def parse_label(text: str, labels: Sequence[str]) -> str | None:
    """The label that a text is, whatever its case and the white space around it."""
    found = {label.casefold(): label for label in labels}
    return found.get(text.strip().casefold())


CLASSIFICATION = Task(check=check_single_turn, parse=parse_label, metrics=("accuracy", "macroF1"))
