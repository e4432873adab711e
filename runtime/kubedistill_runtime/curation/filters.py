"""Filters: reasons to reject answers. Each filter is a function here and a row in FILTERS."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kubedistill.canonical import canonical_json
from kubedistill.v1alpha1 import Spec
from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.curation.near_duplicates import find_near_duplicates
from kubedistill_runtime.curation.refusals import contains_refusal, is_refusal
from kubedistill_runtime.curation.repetition import is_repetitive
from kubedistill_runtime.curation.scripts import is_in_other_script
from kubedistill_runtime.curation.words import count_words, weigh_text
from kubedistill_runtime.records import Record
from kubedistill_runtime.tasks import TASKS
from kubedistill_runtime.tasks.reasoning import NO_FINAL_ANSWER, read_answer

Filter = Callable[[AnsweredRecord], bool]
"""Whether an answer is rejected."""


def is_unanswered(answered: AnsweredRecord) -> bool:
    """Return whether the engine never answered."""
    return not answered.answer.turns


def is_unfinished(answered: AnsweredRecord) -> bool:
    """Return whether the answer was cut off."""
    return any(turn.finish != "stop" for turn in answered.answer.turns)


def make_finish_filter(finish: str) -> Filter:
    """Return the filter that rejects answers with a turn that ended in one way."""
    return lambda answered: any(turn.finish == finish for turn in answered.answer.turns)


def is_empty(answered: AnsweredRecord) -> bool:
    """Return whether the text of a turn is blank."""
    return any(not turn.text.strip() for turn in answered.answer.turns)


def has_repetition(answered: AnsweredRecord) -> bool:
    """Return whether a turn repeats one phrase many times."""
    return any(is_repetitive(turn.text) for turn in answered.answer.turns)


def is_refused(answered: AnsweredRecord) -> bool:
    """Return whether a turn is only a refusal, and neither the prompt nor a reference has one.

    A prompt with a refusal asks for its translation, or says when to refuse.
    """
    if not any(is_refusal(turn.text) for turn in answered.answer.turns):
        return False
    record = answered.record
    shown = [*(message.content for message in record.messages), *record.references]
    return not any(contains_refusal(text) for text in shown)


def has_other_script(answered: AnsweredRecord) -> bool:
    """Return whether a turn is in a script that neither the prompt nor a reference has or asks for."""
    record = answered.record
    shown = [*(message.content for message in record.messages), *record.references]
    return any(is_in_other_script(turn.text, shown) for turn in answered.answer.turns)


def is_not_shorter(answered: AnsweredRecord) -> bool:
    """Return whether a turn has as many words as the whole prompt, or more."""
    prompt = "\n".join(message.content for message in answered.record.messages)
    return any(weigh_text(turn.text) >= weigh_text(prompt) for turn in answered.answer.turns)


def make_word_filter(task: TaskSpec) -> Filter:
    """Return the filter that rejects summaries with more words than the task allows."""
    most = task.max_summary_words
    return lambda answered: most is not None and any(count_words(turn.text) > most for turn in answered.answer.turns)


def make_format_filter(task: TaskSpec) -> Filter:
    """Return the filter that rejects answers that are not in the task's form."""
    return lambda answered: None in [read_answer(turn.text, task) for turn in answered.answer.turns]


def make_duplicate_filter() -> Filter:
    """Return a filter that rejects the answer of a record if another record has equal messages and an equal answer.

    Equal answers to one record are kept, since their frequency reflects the teacher's distribution.
    """
    first: dict[bytes, str] = {}

    def is_duplicate(answered: AnsweredRecord) -> bool:
        messages = [(message.role, message.content) for message in answered.record.messages]
        texts = [turn.text for turn in answered.answer.turns]
        identity = hashlib.sha256(canonical_json([messages, texts])).digest()
        return first.setdefault(identity, answered.record.id) != answered.record.id

    return is_duplicate


def make_near_duplicate_filter(train: Sequence[Record]) -> Filter:
    """Return a filter that rejects the answers to a record if a near-duplicate of it has an answer that passed before.

    All answers to one record pass or none does.
    """
    near = find_near_duplicates(train)
    passed: set[str] = set()

    def is_near_duplicate(answered: AnsweredRecord) -> bool:
        record = answered.record.id
        if record not in passed and any(other in passed for other in near.get(record, ())):
            return True
        passed.add(record)
        return False

    return is_near_duplicate


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterKind:
    """One filter. To add one, write a function and a row in FILTERS, and a field of Filters if it can be off."""

    make: Callable[[TaskSpec, Sequence[Record]], Filter]
    """Return the filter for the answers to (a task, all training records)."""
    switch: str | None = None
    """Field of spec.curation.filters that switches it on or off; None if it always applies."""
    judges: Callable[[TaskSpec], bool] = lambda _: True
    """Whether it can reject answers of a task."""
    by_default: Callable[[TaskSpec], bool] = lambda _: True
    """Whether it judges the answers of a task if the spec leaves its switch open."""
    compares: bool = False
    """Whether its judgment of an answer depends on those to other records."""


def _has_free_text(task: TaskSpec) -> bool:
    return not task.answer_labels


# By the reason of a rejection, in the order of evaluation: the first reason counts. Filters that
# compare records come last, so that a rejected answer hides no other one.
FILTERS: dict[str, FilterKind] = {
    "Unanswered": FilterKind(make=lambda *_: is_unanswered),
    # What an endpoint did not answer; endpoints/endpoint.py says what each finish means.
    "Declined": FilterKind(make=lambda *_: make_finish_filter("refused")),
    "Filtered": FilterKind(make=lambda *_: make_finish_filter("filtered")),
    "PromptTooLong": FilterKind(make=lambda *_: make_finish_filter("too_long")),
    "PromptRejected": FilterKind(make=lambda *_: make_finish_filter("rejected")),
    "EndpointFailed": FilterKind(make=lambda *_: make_finish_filter("failed")),
    "NoFinalAnswer": FilterKind(
        make=lambda *_: make_finish_filter(NO_FINAL_ANSWER),
        judges=lambda task: task.chain_of_thought or task.chain_of_density,
    ),
    "Unfinished": FilterKind(make=lambda *_: is_unfinished),
    "Empty": FilterKind(make=lambda *_: is_empty),
    "Refusal": FilterKind(
        make=lambda *_: is_refused,
        switch="refusal",
        judges=_has_free_text,
        by_default=lambda task: not TASKS[task.type].multi_turn,  # to refuse may be the right reply in a conversation
    ),
    "WrongFormat": FilterKind(make=lambda task, _: make_format_filter(task), switch="format"),
    "OtherScript": FilterKind(make=lambda *_: has_other_script, switch="language", judges=_has_free_text),
    "NotShorter": FilterKind(
        make=lambda *_: is_not_shorter, switch="length", judges=lambda task: TASKS[task.type].shortens
    ),
    "TooManyWords": FilterKind(
        make=lambda task, _: make_word_filter(task), judges=lambda task: task.max_summary_words is not None
    ),
    "Repetition": FilterKind(make=lambda *_: has_repetition, switch="repetition"),
    "Duplicate": FilterKind(make=lambda *_: make_duplicate_filter(), switch="duplicates", compares=True),
    "NearDuplicate": FilterKind(
        make=lambda _, train: make_near_duplicate_filter(train), switch="near_duplicates", compares=True
    ),
}


def find_active(spec: Spec) -> list[str]:
    """Return the filters that judge a job's answers, by the reason of a rejection, in the order of evaluation."""
    return [reason for reason, kind in FILTERS.items() if _is_active(kind, spec)]


def _is_active(kind: FilterKind, spec: Spec) -> bool:
    if kind.switch is None:
        return kind.judges(spec.task)
    switched: bool | None = spec.curation.filters.model_dump()[kind.switch]
    return kind.judges(spec.task) and (kind.by_default(spec.task) if switched is None else switched)


def make_filters(spec: Spec, train: Sequence[Record]) -> Mapping[str, Filter]:
    """Return the active filters of a job by the reason of a rejection, in the order of evaluation."""
    return {reason: FILTERS[reason].make(spec.task, train) for reason in find_active(spec)}


def make_single_filters(spec: Spec) -> Mapping[str, Filter]:
    """Return the active filters that judge each answer alone, as make_filters does."""
    return {reason: FILTERS[reason].make(spec.task, ()) for reason in find_active(spec) if not FILTERS[reason].compares}


def find_rejection(answered: AnsweredRecord, filters: Mapping[str, Filter]) -> str | None:
    """Return the first reason to reject an answer, or None."""
    return next((reason for reason, rejects in filters.items() if rejects(answered)), None)
