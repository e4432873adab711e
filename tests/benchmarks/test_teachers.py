"""What bench-teachers runs: who answers which of the quickstart's records, and what it makes of two arms."""

import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kubedistill.v1alpha1 import Teacher
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.teachers.routing import route


@pytest.fixture
def teachers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import teachers

    monkeypatch.setattr(teachers, "FOLDER", tmp_path)
    return teachers


def test_the_good_teacher_answers_two_topics_of_six(teachers: ModuleType, tmp_path: Path) -> None:
    topics = teachers.write_tagged_data()
    named = [Teacher.model_validate(one) for one in teachers.routed_teachers(topics)]
    answered: Counter[str] = Counter()
    for line in (tmp_path / "data/train.jsonl").read_text().splitlines():
        values = json.loads(line)
        record = Record(values["id"], (Message("user", "x"),), tags=tuple(values["tags"]))
        (name,) = route(record, teachers=named, routing="Weighted")
        assert name == (f"good-{record.tags[0]}" if record.tags[0] in topics[:2] else "worse")
        answered[name] += 1
    assert len(topics) == 6
    assert answered.keys() == {"good-account", "good-app", "worse"}
    assert 0.6 < answered["worse"] / answered.total() < 0.75


@pytest.mark.parametrize(("right", "better"), [(150, True), (101, False)])
def test_one_student_is_better_only_if_chance_does_not_explain_it(
    right: int, better: bool, teachers: ModuleType
) -> None:
    scores = [np.array([1.0] * count + [0.0] * (300 - count)) for count in (right, 100)]
    one, other = (teachers.Outcome(report=None, scores=some, seconds=1.0, load=0.0) for some in scores)
    found = teachers.compare_outcomes(one, other, seed=0)
    assert (found.mean > 0 and found.p_value < teachers.SIGNIFICANT) is better
