"""What bench-curation makes of results, which manifests it runs, and how it corrupts a teacher's answers."""

import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kubedistill.manifest.loading import load_manifest
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.evaluation.statistics import Difference
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.storage.artifacts import find
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from support.job_folder import QUICKSTART, make_job_folder
from support.stage_runner import StageRunner

LABELS = load_manifest(QUICKSTART / "job.yaml").spec.task.answer_labels


@pytest.fixture(scope="module")
def curation() -> ModuleType:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import curation

    return curation


@pytest.mark.parametrize(("mean", "p_value", "holds"), [(0.1, 0.01, True), (-0.01, 0.4, True), (-0.01, 0.01, False)])
def test_the_claim_breaks_where_the_filters_measurably_harm(
    mean: float, p_value: float, *, holds: bool, curation: ModuleType
) -> None:
    overall = Difference(mean, (mean - 0.01, mean + 0.01), p_value)
    assert (curation.broken_claims(overall) == []) == holds


def test_a_lead_is_judged_by_its_seeds_and_not_by_its_records(curation: ModuleType) -> None:
    """Each training has a chance of its own, which is the same for all records that it is judged on."""

    def outcomes(*accuracies: float) -> list[ModuleType]:
        scores = [np.arange(1000) < 1000 * accuracy for accuracy in accuracies]
        return [curation.Outcome(report=None, scores=one.astype(float), seconds=0, load=0) for one in scores]

    off = outcomes(0.6, 0.6, 0.6, 0.6)
    assert curation.compare_by_seed(outcomes(0.70, 0.58, 0.68, 0.56), off).verdict == "not distinguishable"
    assert curation.compare_by_seed(outcomes(0.63, 0.64, 0.63, 0.64), off).verdict == "better"
    worse = curation.compare_by_seed(outcomes(0.57, 0.56, 0.57, 0.56), off)
    assert (worse.verdict, round(worse.mean, 3)) == ("worse", -0.035)


def test_the_manifests_of_the_arms_differ_only_in_their_curation(curation: ModuleType, tmp_path: Path) -> None:
    trials = sys.modules[curation.Trial.__module__]
    specs = {
        name: load_manifest(
            trials.write_manifest(curation.trial_of(name, seed=1, test=tmp_path / "t"), folder=tmp_path)
        ).spec
        for name in ("on", "off", "verified")
    }
    off, verified = specs["off"].curation, specs["verified"].curation
    assert not any(off.filters.model_dump().values())
    assert (verified.select, verified.filters) == ("Verified", specs["on"].curation.filters)
    assert specs["verified"].model_copy(update={"curation": specs["on"].curation}) == specs["on"]
    assert specs["off"].model_copy(update={"curation": specs["on"].curation}) == specs["on"]


def test_every_fifth_answer_becomes_a_label_a_refusal_or_a_beginning(curation: ModuleType) -> None:
    chat = load_chat_format(Model("teacher", QUICKSTART / "teacher", "digest", 0, {}), at="teacher")
    records = [Record(str(number), (Message("user", f"message {number}"),)) for number in range(300)]
    before = [
        AnsweredRecord(one, 0, Answer(f"key-{one.id}", (Turn((1, 2), (3,), LABELS[int(one.id) % 24], "stop"),)))
        for one in records
    ]
    after = curation.corrupt(before, labels=LABELS, chat=chat, generator=np.random.default_rng(0))
    assert [(one.record, one.answer.row_key) for one in after] == [(one.record, one.answer.row_key) for one in before]
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    kinds = Counter()
    for one, other in changed:
        (old,), (new,) = one.answer.turns, other.answer.turns
        assert (new.prompt_ids, new.finish, new.top) == (old.prompt_ids, "stop", None)
        assert chat.text(new.completion_ids) == new.text != old.text
        kinds["label" if new.text in LABELS else "beginning" if old.text.startswith(new.text) else "refusal"] += 1
    assert kinds == {"label": 20, "refusal": 20, "beginning": 20}


def test_a_run_in_the_other_store_meets_the_corrupted_answers(curation: ModuleType, tmp_path: Path) -> None:
    chat = load_chat_format(Model("teacher", QUICKSTART / "teacher", "digest", 0, {}), at="teacher")
    folder = make_job_folder(tmp_path)
    folder.set("teachers.0.model.source", str(QUICKSTART / "teacher"))
    folder.set("student.model.source", str(QUICKSTART / "student"))
    runner = StageRunner(folder, chat)
    runner.run("Prepare", "Generate")
    other, choices = Store(tmp_path / "other"), folder.resolve()
    curation.corrupt_teacher(choices, labels=("yes", "no"), source=folder.store, target=other, seed=0)
    found = list(read_answer_set(other, "answers", choices.keys["answers"], "train"))
    assert sum(one.answer.turns[0].text != "yes" for one in found) == 8, "20 % of 40"
    assert find(other, "judge", choices.keys["judge"]).complete
