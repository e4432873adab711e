"""The probe: which records it takes, and when it ends a job."""

import math
from collections.abc import Iterable
from typing import Any

import pytest
from scipy.stats import hypergeom

from kubedistill.errors import LowYield
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.curation.probe import CERTAIN, is_certain, make_judge
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.teachers.cache import make_rows
from kubedistill_runtime.teachers.probe import LOOKS, pick_probes
from support.job_folder import SPEC
from support.messages import CheckMessage

PROMPTS = [Record(f"train-{number:06d}", (Message("user", f"is {number} odd?"),)) for number in range(300)]


def spec_of(**curation: Any) -> Spec:
    return Spec.model_validate(SPEC | {"curation": curation}, by_alias=True, by_name=False, strict=False)


def answer(record: Record, text: str, *, finish: str = "stop", sample: int = 0) -> AnsweredRecord:
    return AnsweredRecord(record, sample, Answer(f"{record.id}/{sample}", (Turn((), (), text, finish),)))


@pytest.mark.parametrize(("count", "looks"), [(1, []), (16, []), (17, [16]), (256, [16]), (257, [16, 256])])
def test_a_probe_has_fewer_records_than_the_job(count: int, looks: list[int]) -> None:
    rows = make_rows(PROMPTS[:count], key="k", samples=2)
    found = list(pick_probes(rows))
    assert [len(probe) for probe in found] == [2 * look for look in looks]
    assert all({row.record.id for row in found[0]} <= {row.record.id for row in probe} for probe in found)


def test_the_records_of_a_probe_are_not_the_first_of_the_file() -> None:
    (first, _) = pick_probes(make_rows(PROMPTS, key="k", samples=1))
    numbers = [int(row.record.id.removeprefix("train-")) for row in first]
    assert numbers == sorted(numbers), "but in its order"
    assert 100 < sum(numbers) / len(numbers) < 200
    (again, _) = pick_probes(make_rows(PROMPTS[::-1], key="other", samples=1))
    assert {row.record.id for row in again} == {row.record.id for row in first}, "whatever order, and whatever teacher"


@pytest.mark.parametrize("least", [0.01, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("look", LOOKS)
def test_a_job_that_would_succeed_is_ended_less_than_once_in_a_million(look: int, least: float) -> None:
    most = max((kept for kept in range(look + 1) if is_certain(kept, look, least=least)), default=-1)
    for total in (*range(look + 1, look + 50), 1000, 100_000):
        good = math.ceil(least * total)
        assert hypergeom.cdf(most, total, good, look) < CERTAIN


@pytest.mark.parametrize(
    ("kept", "records", "least", "certain"),
    [
        (1, 16, 0.7, True),
        (2, 16, 0.7, False),
        (15, 16, 1.0, True),
        (16, 16, 1.0, False),
        (0, 16, 0.0, False),
        (140, 256, 0.7, True),
        (150, 256, 0.7, False),
    ],
)
def test_few_good_answers_are_certain_to_be_too_few(kept: int, records: int, least: float, *, certain: bool) -> None:
    assert is_certain(kept, records, least=least) == certain


def test_the_message_counts_the_reasons_and_names_two_records_whose_answers_are_logged(
    check_message: CheckMessage, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["perhaps " * 20] * 9 + [""] * 6 + ["yes"]
    answers = [answer(record, text) for record, text in zip(PROMPTS, texts, strict=False)]
    with pytest.raises(LowYield) as low:
        make_judge(spec_of(), PROMPTS)(answers, 300)
    assert low.value.at == "spec.curation.minKeepRatio"
    check_message(low.value, 16, 300, "70.0%", 9, "WrongFormat", 6, "Empty", "train-000000", "train-000009")
    assert "perhaps" not in str(low.value), "the status of a job has no answers"
    assert 'train-000000: "perhaps perhaps' in caplog.text


def cut(count: int) -> Iterable[AnsweredRecord]:
    return (answer(record, "yes", finish="length") for record in PROMPTS[:count])


def test_answers_that_are_cut_off_are_charged_to_the_success_ratio() -> None:
    with pytest.raises(LowYield) as low:
        make_judge(spec_of(), PROMPTS)(cut(16), 300)
    assert low.value.at == "spec.generation.minSuccessRatio"


UNDECIDED = {
    "good answers": [answer(record, "yes") for record in PROMPTS[:16]],
    "equal records, whose first is not in the probe": [
        answer(Record(f"r{number}", PROMPTS[0].messages), "yes") for number in range(16)
    ],
    "an endpoint that failed for a time": [answer(record, "", finish="failed") for record in PROMPTS[:16]],
    "one good draw of a prompt": [
        answer(record, "yes" if sample else "what?", sample=sample) for record in PROMPTS[:16] for sample in (0, 1)
    ],
}


@pytest.mark.parametrize("case", UNDECIDED)
def test_what_may_turn_out_well_ends_no_job_and_needs_no_second_look(case: str) -> None:
    answers = UNDECIDED[case]
    judge = make_judge(spec_of(minKeepRatio=1.0), [one.record for one in answers])
    assert judge(answers, 300) is False


def test_a_bad_answer_asks_for_a_second_look() -> None:
    answers = [answer(record, "yes" if number else "what?") for number, record in enumerate(PROMPTS[:16])]
    assert make_judge(spec_of(), PROMPTS)(answers, 300) is True


def test_a_filter_that_is_off_rejects_nothing() -> None:
    answers = [answer(record, "what?") for record in PROMPTS[:16]]
    assert make_judge(spec_of(filters={"format": False}), PROMPTS)(answers, 300) is False


def test_the_selection_is_that_of_the_job() -> None:
    records = [Record(one.id, one.messages, references=("no",)) for one in PROMPTS[:16]]
    with pytest.raises(LowYield) as low:
        make_judge(spec_of(select="Verified"), records)([answer(record, "yes") for record in records], 300)
    assert "16 Unverified" in low.value.problem


def test_a_chain_of_thought_is_judged_by_its_final_answer() -> None:
    spec = spec_of()
    spec = spec.model_copy(update={"task": spec.task.model_copy(update={"chain_of_thought": True})})
    good = [answer(record, "It is even.\nAnswer: no") for record in PROMPTS[:16]]
    assert make_judge(spec, PROMPTS)(good, 300) is False
    with pytest.raises(LowYield) as low:
        make_judge(spec, PROMPTS)([answer(record, "It is even.") for record in PROMPTS[:16]], 300)
    assert "16 NoFinalAnswer" in low.value.problem
