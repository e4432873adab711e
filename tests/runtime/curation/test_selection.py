"""Selection: which draws of one record are learned."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Curation, Generation, Select, Spec, Task
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.checks.selection import check_selection, check_trace_length, check_train_references
from kubedistill_runtime.curation.selection import SELECTIONS, make_selection
from kubedistill_runtime.records import Message, Record
from support.job_folder import SPEC
from support.messages import CheckMessage

LABELS = Task(type="Classification", labels=("yes", "no", "maybe"))


def spec_with(select: Select, *, task: Task = LABELS, samples: int = 5) -> Spec:
    spec = Spec.model_validate(SPEC, by_alias=True, by_name=False, strict=False)
    generation = Generation(samples_per_prompt=samples)
    return spec.model_copy(update={"task": task, "curation": Curation(select=select), "generation": generation})


def draws(*texts: str, references: tuple[str, ...] = ()) -> list[AnsweredRecord]:
    record = Record("r", (Message("user", "?"),), references)
    return [
        AnsweredRecord(record, place, Answer(str(place), (Turn((1,), (2,), text, "stop"),)))
        for place, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("select", "texts", "references", "kept"),
    [
        ("All", "yes no yes", "yes", "yes no yes"),
        ("Verified", "yes no yes", "yes", "yes yes"),
        ("Verified", "yes no YES", "no yes", "yes no YES"),
        ("Verified", "yes no yes", "maybe", ""),
        ("Verified", "yes no yes", "", ""),
        ("Majority", "no yes yes", "no", "yes yes"),
        ("Majority", "no yes", "", "no"),
        ("Majority", "no yes YES", "", "yes YES"),
        ("Majority", "no no yes yes", "yes", "no no"),
        ("VerifiedElseMajority", "no yes yes", "no", "no"),
        ("VerifiedElseMajority", "no yes yes", "", "yes yes"),
        ("VerifiedElseMajority", "no yes yes", "maybe", ""),
    ],
)
def test_draws_are_kept_as_asked(select: Select, texts: str, references: str, kept: str) -> None:
    some = draws(*texts.split(), references=tuple(references.split()))
    reasons = make_selection(spec_with(select), shortest=False)(some)
    found = [one.answer.turns[0].text for one, reason in zip(some, reasons, strict=True) if reason is None]
    assert found == kept.split()
    assert {reason for reason in reasons if reason} <= {"Unverified", "Outvoted"}


def test_answers_are_equal_as_in_the_evaluation() -> None:
    some = draws("The answer is 0.5.", "\\boxed{\\frac{1}{2}}", "\\boxed{2}", references=("so\n#### 1/2",))
    math = Task(type="Math")
    assert make_selection(spec_with("Verified", task=math), shortest=False)(some) == [None, None, "Unverified"]
    assert make_selection(spec_with("Majority", task=math), shortest=False)(some) == [None, None, "Outvoted"]
    question = Task(type="QA")
    named = draws("The Nile", "nile", "Amazon")
    assert make_selection(spec_with("Majority", task=question), shortest=False)(named) == [None, None, "Outvoted"]


@pytest.mark.parametrize("select", SELECTIONS)
@given(texts=st.lists(st.sampled_from(["yes", "no", "maybe"]), max_size=12))
def test_a_draw_is_kept_or_rejected_with_all_that_equal_it(select: Select, texts: list[str]) -> None:
    reasons = make_selection(spec_with(select), shortest=False)(draws(*texts, references=("yes",)))
    assert len(reasons) == len(texts)
    assert len(set(zip(texts, reasons, strict=True))) == len(set(texts))
    if texts and select in ("All", "Majority"):
        assert None in reasons, "a prompt with an answer keeps one"


@pytest.mark.parametrize(
    ("select", "task", "samples", "refused"),
    [
        ("All", Task(type="Conversation"), 1, False),
        ("Verified", LABELS, 1, False),
        ("Verified", Task(type="Math"), 1, False),
        ("Verified", Task(type="Conversation"), 4, True),
        ("Majority", Task(type="Summarization"), 4, True),
        ("Majority", LABELS, 2, True),
        ("Majority", LABELS, 3, False),
        ("VerifiedElseMajority", LABELS, 1, True),
    ],
)
def test_a_selection_that_cannot_select_is_refused(select: Select, task: Task, samples: int, refused: bool) -> None:
    spec = spec_with(select, task=task, samples=samples)
    if not refused:
        check_selection(spec)
        return
    with pytest.raises(InvalidManifest) as caught:
        check_selection(spec)
    assert caught.value.at == "spec.curation.select"


def test_given_answers_are_not_selected() -> None:
    spec = spec_with("Verified")
    data = spec.data.model_copy(update={"train": spec.data.train.model_copy(update={"answers": "Given"})})
    with pytest.raises(InvalidManifest) as caught:
        check_selection(spec.model_copy(update={"data": data}))
    assert caught.value.at == "spec.curation.select"


def test_verified_needs_a_reference_in_train() -> None:
    train = [Record("r", (Message("user", "?"),))]
    check_train_references(spec_with("Majority"), train)
    check_train_references(spec_with("Verified"), [*train, Record("s", (Message("user", "?"),), ("yes",))])
    with pytest.raises(InvalidManifest) as caught:
        check_train_references(spec_with("Verified"), train)
    assert caught.value.at == "spec.curation.select"


def traces(*texts: str, references: tuple[str, ...], ids: bool = True) -> list[AnsweredRecord]:
    """Return answers with as many tokens as words, or without tokens."""
    record = Record("r", (Message("user", "?"),), references)
    return [
        AnsweredRecord(record, place, Answer(str(place), (Turn((1,), (2,) * len(text.split()) * ids, text, "stop"),)))
        for place, text in enumerate(texts)
    ]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize(
    ("texts", "references", "reasons"),
    [
        (("so so Answer: 4", "so Answer: 4", "so Answer: 4", "Answer: 5"), ("4",),
         ["LongerTrace", None, "LongerTrace", "Unverified"]),
        (("Answer: 5", "Answer: 6"), ("4",), ["Unverified", "Unverified"]),
        (("Answer: 5", "so Answer: 5"), (), [None, None]),
        ((), ("4",), []),
    ],
)  # fmt: skip
def test_a_small_student_learns_the_shortest_right_answer(
    texts: tuple[str, ...], references: tuple[str, ...], reasons: list[str | None], *, ids: bool
) -> None:
    spec = spec_with("All", task=Task(type="Math"))
    some = traces(*texts, references=references, ids=ids)
    assert make_selection(spec, shortest=True)(some) == reasons
    assert make_selection(spec, shortest=False)(some) == [None] * len(some)


def with_trace(spec: Spec) -> Spec:
    return spec.model_copy(update={"curation": Curation(trace_length="Auto")})


NOTHING_TO_CHOOSE = {
    "free text": with_trace(spec_with("All", task=Task(type="Conversation"))),
    "final answers alone": with_trace(spec_with("All", task=Task(type="Math", chain_of_thought=True))),
    "one answer": with_trace(spec_with("All", task=Task(type="Math"), samples=1)),
}


@pytest.mark.parametrize("case", NOTHING_TO_CHOOSE)
def test_a_trace_length_where_there_is_nothing_to_choose_from_is_refused(
    case: str, check_message: CheckMessage
) -> None:
    with pytest.raises(InvalidManifest) as refused:
        check_trace_length(NOTHING_TO_CHOOSE[case])
    assert refused.value.at == "spec.curation.traceLength"
    check_message(refused.value)


def test_a_trace_length_needs_references(check_message: CheckMessage) -> None:
    spec = with_trace(spec_with("All", task=Task(type="Math")))
    check_trace_length(spec)
    check_train_references(spec, [Record("r", (), ("4",))])
    with pytest.raises(InvalidManifest) as refused:
        check_train_references(spec, [Record("r", ())])
    assert refused.value.at == "spec.curation.traceLength"
    check_message(refused.value)


def test_tokens_of_one_teacher_are_not_compared_with_characters_of_another() -> None:
    record = Record("r", (Message("user", "?"),), ("yes",))
    turns = (Turn((1,), (2, 3, 4, 5), "yes", "stop"), Turn((), (), " yes ", "stop"), Turn((1,), (2,), "yes  ", "stop"))
    some = [AnsweredRecord(record, place, Answer(str(place), (turn,)), f"t{place}") for place, turn in enumerate(turns)]
    reasons = make_selection(spec_with("All"), shortest=True)(some)
    assert reasons == [None, "LongerTrace", "LongerTrace"], "3, 5 and 5 characters"
    served = make_selection(spec_with("All"), shortest=True)([some[0], some[2]])
    assert served == ["LongerTrace", None], "4 tokens and 1"
