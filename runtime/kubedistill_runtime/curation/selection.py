"""Selection: which of the answers to one record to train on. Each rule is a function here and a row in SELECTIONS."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from kubedistill.v1alpha1 import Select, Spec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.evaluation.metrics import Score, score_of
from kubedistill_runtime.evaluation.metrics.normalization import find_equality
from kubedistill_runtime.tasks import TASKS
from kubedistill_runtime.tasks.reasoning import read_answer


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rule by which two answers of a task are equal."""

    parse: Callable[[str], str | None]
    score: Score

    def matches(self, answered: AnsweredRecord, references: Sequence[str]) -> bool:
        """Return whether the last reply of an answer equals one of the references."""
        return self.score(self.read(answered), references) == 1

    def read(self, answered: AnsweredRecord) -> str | None:
        """Return the last reply in the form that references have."""
        return self.parse(answered.answer.turns[-1].text)


Selection = Callable[[Sequence[AnsweredRecord], Comparison], list[str | None]]
"""(the answers to one record that passed all filters, when two are equal) -> the reason to reject each, or None."""


def keep_all(answers: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep every answer: its frequency reflects the teacher's probability for it."""
    del comparison
    return [None] * len(answers)


def keep_verified(answers: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep the answers that match a reference; a record without references keeps none."""
    return [None if comparison.matches(one, one.record.references) else "Unverified" for one in answers]


def keep_majority(answers: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep the most frequent answer, as often as it was given; if several are equally frequent, the first of them."""
    read = [comparison.read(one) for one in answers]
    votes = [sum(_are_same(one, other, comparison) for other in read) for one in read]
    most_frequent = read[votes.index(max(votes))] if votes else None
    return [None if _are_same(one, most_frequent, comparison) else "Outvoted" for one in read]


def keep_verified_else_majority(answers: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep the answers that match a reference, or the majority if the record has no reference."""
    has_references = any(one.record.references for one in answers)
    return (keep_verified if has_references else keep_majority)(answers, comparison)


def keep_shortest(answers: Sequence[AnsweredRecord], comparison: Comparison) -> list[str | None]:
    """Keep the shortest answer that matches a reference; of several, the first one."""
    reasons = keep_verified(answers, comparison)
    verified = [place for place, reason in enumerate(reasons) if reason is None]
    lengths = _measure_lengths(answers)
    shortest = min(verified, key=lambda place: lengths[place], default=None)
    return [
        "LongerTrace" if place in verified and place != shortest else reason for place, reason in enumerate(reasons)
    ]


SELECTIONS: dict[Select, Selection] = {
    "All": keep_all,
    "Verified": keep_verified,
    "Majority": keep_majority,
    "VerifiedElseMajority": keep_verified_else_majority,
}


def make_selection(spec: Spec, *, shortest: bool = False) -> Callable[[Sequence[AnsweredRecord]], list[str | None]]:
    """Return the selection of a job; with `shortest`, one answer to each record that has references."""
    comparison = _comparison_of(spec)

    def select(answers: Sequence[AnsweredRecord]) -> list[str | None]:
        if shortest and any(one.record.references for one in answers):
            return keep_shortest(answers, comparison)
        if spec.generation.routing == "BestOf":
            best = SELECTIONS["VerifiedElseMajority" if spec.curation.select == "All" else spec.curation.select]
            return keep_one_teacher(answers, best(answers, comparison))
        return SELECTIONS[spec.curation.select](answers, comparison)

    return select


def keep_one_teacher(answers: Sequence[AnsweredRecord], reasons: Sequence[str | None]) -> list[str | None]:
    """Keep of the selected answers to one record those of the teacher with most of them, of several the first."""
    votes = Counter(one.teacher for one, reason in zip(answers, reasons, strict=True) if reason is None)
    best = max(votes, key=lambda name: votes[name], default="")
    return [
        reason or (None if one.teacher == best else "OtherTeacher")
        for one, reason in zip(answers, reasons, strict=True)
    ]


def choose_answers(answers: Iterable[AnsweredRecord], *, spec: Spec) -> Iterator[AnsweredRecord]:
    """Yield one of the greedy answers to each record: of several teachers' the most frequent one, else the first.

    References do not decide, because these answers are compared with the student's.
    """
    comparison = _comparison_of(spec)
    for _, group in groupby(answers, key=lambda answered: answered.record.id):
        some = list(group)
        ended = [one for one in some if one.answer.ended]
        reasons = keep_majority(ended, comparison) if len(some) > 1 else []
        yield next((one for one, reason in zip(ended, reasons, strict=False) if reason is None), some[0])


def _comparison_of(spec: Spec) -> Comparison:
    task = TASKS[spec.task.type]
    return Comparison(
        lambda text: read_answer(text, spec.task),
        score_of(task.metrics[0], find_equality(spec)),
    )


def _measure_lengths(answers: Sequence[AnsweredRecord]) -> list[int]:
    """Return the length of each answer in tokens, or in characters if the tokens of one of them are not known."""
    counted = all(turn.completion_ids for one in answers for turn in one.answer.turns)
    return [sum(len(turn.completion_ids if counted else turn.text) for turn in one.answer.turns) for one in answers]


def _are_same(answer: str | None, other: str | None, comparison: Comparison) -> bool:
    return other is not None and comparison.score(answer, [other]) == 1
