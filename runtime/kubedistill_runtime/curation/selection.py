"""Selection: which of the answers to one record are learned. One is a function here, and a row in SELECTIONS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedistill.v1alpha1 import Select, Spec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.evaluation.metrics import Score, score_of
from kubedistill_runtime.tasks import TASKS


@dataclass(frozen=True, slots=True)
class Comparison:
    """When two answers of a task are the same."""

    parse: Callable[[str], str | None]
    score: Score

    def matches(self, answered: AnsweredRecord, references: Sequence[str]) -> bool:
        """Whether the last reply of an answer is one of the references."""
        return self.score(self.read(answered), references) == 1

    def read(self, answered: AnsweredRecord) -> str | None:
        """Return the last reply in the form that references have."""
        return self.parse(answered.answer.turns[-1].text)


Selection = Callable[[Sequence[AnsweredRecord], Comparison], list[str | None]]
"""(the answers to one record that passed all filters, when two are the same) -> the reason to reject each, or None."""


def keep_all(draws: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep every draw: how often an answer is drawn is what the teacher thinks of it."""
    del comparison
    return [None] * len(draws)


def keep_verified(draws: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep the draws that match a reference; a record without references keeps none."""
    return [None if comparison.matches(one, one.record.references) else "Unverified" for one in draws]


def keep_majority(draws: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep the draws of the answer that was drawn most often; of equally frequent ones, that which was drawn first."""
    answers = [comparison.read(one) for one in draws]
    votes = [sum(_are_same(one, other, comparison) for other in answers) for one in answers]
    elected = answers[votes.index(max(votes))] if votes else None
    return [None if _are_same(one, elected, comparison) else "Outvoted" for one in answers]


def keep_verified_else_majority(draws: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep the draws that match a reference, or the majority where the record has no reference."""
    has_references = any(one.record.references for one in draws)
    return (keep_verified if has_references else keep_majority)(draws, comparison)


SELECTIONS: dict[Select, Selection] = {
    "All": keep_all,
    "Verified": keep_verified,
    "Majority": keep_majority,
    "VerifiedElseMajority": keep_verified_else_majority,
}


def make_selection(spec: Spec) -> Callable[[Sequence[AnsweredRecord]], list[str | None]]:
    """Return the selection of a job."""
    task, select = TASKS[spec.task.type], SELECTIONS[spec.curation.select]
    comparison = Comparison(
        lambda text: task.parse(text, spec.task.answer_labels),
        score_of(task.metrics[0], spec.evaluation.answer_comparison),
    )
    return lambda draws: select(draws, comparison)


def _are_same(answer: str | None, other: str | None, comparison: Comparison) -> bool:
    return other is not None and comparison.score(answer, [other]) == 1
