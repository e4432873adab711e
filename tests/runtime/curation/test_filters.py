"""Filters: which answers are rejected, and for which reason."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import Curation, Filters, Spec, Task
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.curation.filters import FILTERS, find_rejection, make_duplicate_filter, make_filters
from kubedistill_runtime.records import Message, Record
from support.job_folder import SPEC

LABELS = Task(type="Classification", labels=("a.b", "c.d"))
TALK = Task(type="Conversation")
ASK = Task(type="QA")
SUM_UP = Task(type="Summarization")
TEN_WORDS = Task(type="Summarization", max_summary_words=10)
CHARACTERS = "".join(map(chr, range(0x4E00, 0x4E50)))
REFUSAL = "I'm sorry, but I can't help with that."
CHINESE = "我不知道该怎么办。请先关闭机器并等待一个小时。"


def spec_of(task: Task, **switches: bool) -> Spec:
    spec = Spec.model_validate(SPEC, by_alias=True, by_name=False, strict=False)
    return spec.model_copy(update={"task": task, "curation": Curation(filters=Filters(**switches))})


def answered(
    *texts: str,
    finish: str = "stop",
    prompt: str = "hello",
    record_id: str = "r",
    references: tuple[str, ...] = (),
) -> AnsweredRecord:
    turns = tuple(Turn((1,), (2,), text, finish) for text in texts)
    return AnsweredRecord(Record(record_id, (Message("user", prompt),), references), 0, Answer("key", turns))


@pytest.mark.parametrize(
    ("task", "answer", "reason"),
    [
        (LABELS, answered("a.b"), None),
        (LABELS, answered(" A.B\n"), None),
        (LABELS, answered("x.y"), "WrongFormat"),
        (LABELS, answered("a.b because"), "WrongFormat"),
        (LABELS, answered("a.b", finish="length"), "Unfinished"),
        (LABELS, answered("  "), "Empty"),
        (LABELS, answered(), "Unanswered"),
        (TALK, answered("Sure.", "Bye."), None),
        (TALK, answered("Sure.", "Bye.", finish="length"), "Unfinished"),
        (TALK, answered("and so it is again and over and over my good friend " * 20), "Repetition"),
        (ASK, answered(REFUSAL), "Refusal"),
        (ASK, answered(REFUSAL, prompt=f"Answer from the passage, or say: {REFUSAL}"), None),
        (ASK, answered(REFUSAL, prompt="Translate: Es tut mir leid, dabei kann ich nicht helfen."), None),
        (ASK, answered(REFUSAL, references=(REFUSAL,)), None),
        (TALK, answered(REFUSAL), None),
        (LABELS, answered(REFUSAL), "WrongFormat"),
        (TALK, answered("Sure.", CHINESE), "OtherScript"),
        (TALK, answered("Sure.", CHINESE, prompt="你好"), None),
        (TALK, answered(CHINESE, references=(CHINESE,)), None),
        (SUM_UP, answered("It is short.", prompt="This text is longer than its summary."), None),
        (SUM_UP, answered("It is a long text on a short one.", prompt="Short text."), "NotShorter"),
        (TEN_WORDS, answered("one two - three-and-a-half don't 5 6 7 8 9 ten.", prompt="word " * 40), None),
        (TEN_WORDS, answered("one two three four 5 6 7 8 9 ten eleven", prompt="word " * 40), "TooManyWords"),
        (TEN_WORDS, answered(CHARACTERS[:20], prompt=CHARACTERS), None),
        (TEN_WORDS, answered(CHARACTERS[:21], prompt=CHARACTERS), "TooManyWords"),
        (ASK, answered("It is a long text on a short one.", prompt="Short text."), None),
        (SUM_UP, answered("关闭机器", prompt="请先关闭机器并等待一个小时。"), None),
        (TALK, answered(" ".join(f"unlike {number} things" for number in range(60))), None),
    ],
)
def test_first_reason_counts(task: Task, answer: AnsweredRecord, reason: str | None) -> None:
    assert find_rejection(answer, make_filters(spec_of(task), [])) == reason


SWITCHED = {name: reason for reason, kind in FILTERS.items() if (name := kind.switch)}
REJECTED = {
    "format": (LABELS, [answered("x.y")]),
    "refusal": (TALK, [answered(REFUSAL)]),
    "language": (TALK, [answered(CHINESE)]),
    "length": (SUM_UP, [answered("It is a long text on a short one.")]),
    "repetition": (TALK, [answered("and so it is again and over and over my good friend " * 20)]),
    "duplicates": (TALK, [answered("a"), answered("a", record_id="another")]),
    "near_duplicates": (TALK, [answered("a"), answered("b", record_id="another", prompt="Hello!")]),
}


def test_every_field_of_filters_switches_one_filter() -> None:
    assert sorted(SWITCHED) == sorted(Filters.model_fields) == sorted(REJECTED)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("name", SWITCHED)
def test_a_filter_that_is_off_rejects_nothing(name: str, on: bool) -> None:
    task, answers = REJECTED[name]
    filters = make_filters(spec_of(task, **{name: on}), [one.record for one in answers])
    *others, last = [find_rejection(one, filters) for one in answers]
    assert (set(others) - {None}, last) == (set(), SWITCHED[name] if on else None)


@pytest.mark.parametrize(("bad", "reason"), [(answered(), "Unanswered"), (answered(" "), "Empty")])
def test_no_switch_lets_an_answer_pass_that_nothing_can_be_learned_from(bad: AnsweredRecord, reason: str) -> None:
    assert find_rejection(bad, make_filters(spec_of(TALK, **dict.fromkeys(SWITCHED, False)), [])) == reason


def duplicates(*answers: AnsweredRecord) -> list[int]:
    """Return the places of the answers that are rejected as duplicates."""
    is_duplicate = make_duplicate_filter()
    return [place for place, one in enumerate(answers) if is_duplicate(one)]


SYSTEM = Record("s", (Message("system", "Be brief."), Message("user", "hello")))
A_TURN = Answer("key", (Turn((1,), (2,), "a", "stop"),))


@pytest.mark.parametrize(
    ("answers", "rejected"),
    [
        ((answered("a"), answered("a"), answered("b"), answered("a")), []),
        ((answered("a"), answered("a", record_id="s")), [1]),
        ((answered("a"), answered("b", record_id="s")), []),
        ((answered("a"), answered("a", record_id="s", prompt="other")), []),
        ((answered("a"), AnsweredRecord(SYSTEM, 0, A_TURN)), []),
        ((answered("a", "b"), answered("ab", record_id="s"), answered("a", "b", record_id="t")), [2]),
        ((answered("a"), answered("a", record_id="s"), answered("a"), answered("a", record_id="s")), [1, 3]),
        ((answered("a", record_id="s"), answered("b", record_id="t"), answered("b", record_id="s")), [2]),
    ],
    ids=[
        "draws of one record stay", "an equal record goes", "its other answer stays", "another prompt stays",
        "another system prompt stays", "turns are not run together", "all draws of the equal record go",
        "each text belongs to the record that said it first",
    ],
)  # fmt: skip
def test_duplicates_are_equal_records_and_draws_are_data(
    answers: tuple[AnsweredRecord, ...], rejected: list[int]
) -> None:
    assert duplicates(*answers) == rejected


ONE_BY_ONE = (
    "Declined", "Filtered", "PromptTooLong", "PromptRejected", "EndpointFailed",
    "Unanswered", "Unfinished", "Empty", "Refusal", "WrongFormat", "OtherScript", "NotShorter", "TooManyWords",
    "Repetition",
)  # fmt: skip
SOME_TEXTS = st.sampled_from(["a", "a.b", "", REFUSAL, CHINESE, "x " * 300, "It is a long text on a short one."])


@given(
    st.sampled_from([LABELS, TALK, ASK, SUM_UP, TEN_WORDS]), st.lists(SOME_TEXTS, max_size=8).flatmap(st.permutations)
)
def test_a_filter_that_looks_at_one_answer_does_not_depend_on_others(task: Task, texts: list[str]) -> None:
    every = {reason: filters for reason, filters in make_filters(spec_of(task), []).items() if reason in ONE_BY_ONE}
    answers = [answered(text, record_id=str(place)) for place, text in enumerate(texts)]
    together = [find_rejection(one, every) for one in answers]
    assert together == [find_rejection(one, make_filters(spec_of(task), [])) for one in answers]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(0, 3))
def test_frequencies_of_draws_survive_and_equal_records_are_not_added(draws: list[str], copies: int) -> None:
    records = [answered(text, record_id=str(copy)) for copy in range(copies + 1) for text in draws]
    is_duplicate = make_duplicate_filter()
    kept = Counter(one.answer.turns[0].text for one in records if not is_duplicate(one))
    assert kept == Counter(draws)


def nearly_equal(place: int) -> str:
    return "Hello" + "!" * place


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=20))
def test_all_answers_to_the_first_good_record_of_near_duplicates_are_kept(draws: list[tuple[int, bool]]) -> None:
    """A record whose answers are all rejected for another reason hides none."""
    answers = [
        answered(f"{place}" if good else " ", record_id=str(record), prompt=nearly_equal(record))
        for place, (record, good) in enumerate(draws)
    ]
    records = list({one.record.id: one.record for one in answers}.values())
    filters = make_filters(spec_of(TALK, near_duplicates=True), records)
    kept = [one for one in answers if find_rejection(one, filters) is None]
    first = next((str(record) for record, good in draws if good), None)
    assert [one.record.id for one in kept] == [str(record) for record, good in draws if good and str(record) == first]
