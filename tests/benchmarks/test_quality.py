"""What bench-quality makes of results, which manifests it runs, and how it shuffles a teacher."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kubedistill.manifest.loading import load_manifest
from kubedistill.report.models import Report
from kubedistill_runtime.answers import Answer, AnsweredRecord, TopK, Turn
from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.evaluation.statistics import Difference
from kubedistill_runtime.models import Model
from kubedistill_runtime.pipeline import LocalRun
from kubedistill_runtime.records import Message, Record
from support.job_folder import QUICKSTART, make_job_folder
from support.pipeline_runs import small_run

LEADS, SHUFFLED = (0.06, 0.05, 0.025), (0.04, 0.05, 0.07)
VERDICTS = ("not distinguishable", "worse", "not distinguishable")


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    import quality

    return quality


@pytest.fixture(scope="module")
def trials(quality: ModuleType) -> ModuleType:
    module: ModuleType = sys.modules[quality.Trial.__module__]
    return module


def leads(means: tuple[float, ...], *, p_value: float = 0.001) -> list[Difference]:
    return [Difference(mean, (mean - 0.01, mean + 0.01), p_value) for mean in means]


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        ({}, []),
        ({"leads": leads((0.06, 0.05, 0.024))}, ["CachedLogits leads"]),
        ({"leads": leads((0.06, 0.05, -0.06))}, ["CachedLogits leads"]),
        ({"leads": leads(LEADS, p_value=0.05)}, ["CachedLogits leads"]),
        ({"shuffled": (0.04, 0.0705, 0.04)}, ["with a shuffled teacher"]),
        ({"verdicts": ("not distinguishable", "better", "worse")}, ["with the baseline as teacher"]),
        (
            {"leads": leads((0.0,) * 3, p_value=1.0), "shuffled": (0.5,) * 3, "verdicts": ("better",) * 3},
            ["CachedLogits leads", "with a shuffled teacher", "with the baseline as teacher"],
        ),
    ],
)
def test_every_claim_that_does_not_hold_is_named(
    found: dict[str, object], broken: list[str], quality: ModuleType
) -> None:
    said = quality.broken_claims(**{"leads": leads(LEADS), "shuffled": SHUFFLED, "verdicts": VERDICTS, **found})
    assert len(said) == len(broken)
    assert all(claim.startswith(start) for claim, start in zip(said, broken, strict=True))


def test_the_manifests_of_all_arms_differ_only_in_what_is_learned_from(
    quality: ModuleType, trials: ModuleType, tmp_path: Path
) -> None:
    specs = [
        load_manifest(trials.write_manifest(quality.trial_of(name, seed=1, test=tmp_path / "t"), folder=tmp_path)).spec
        for name in quality.ARMS
    ]
    learnt_from = {"teachers": (), "data": None, "generation": None}
    same = [spec.model_copy(update=learnt_from) for spec in specs]
    objective = specs[0].training.objective
    same = [
        one.model_copy(update={"training": one.training.model_copy(update={"objective": objective})}) for one in same
    ]
    assert all(one == same[0] for one in same)
    assert {spec.training.seed for spec in specs} == {1}
    assert {spec.data.test for spec in specs} == {specs[0].data.test}


def answered(place: int) -> AnsweredRecord:
    """Return a record whose answer, in text, ids and distribution alike, is its own number."""
    top = TopK(np.full((1, 2), place, np.int32), np.full((1, 2), -place, np.float16), np.zeros(1, np.float32))
    turn = Turn((1000 + place,), (place,), str(place), "stop", top)
    return AnsweredRecord(Record(str(place), (Message("user", str(place)),)), 0, Answer(f"key-{place}", (turn,)))


def test_a_shuffle_keeps_prompts_and_moves_text_ids_and_distribution_together(trials: ModuleType) -> None:
    before = [answered(place) for place in range(50)]
    after = trials.deal_answers(before, generator=np.random.default_rng(0))
    assert [one.record for one in after] == [one.record for one in before]
    assert [one.answer.row_key for one in after] == [one.answer.row_key for one in before]
    turns = [one.answer.turns[0] for one in after]
    assert [turn.prompt_ids for turn in turns] == [(1000 + place,) for place in range(50)]
    assert sorted(int(turn.text) for turn in turns) == list(range(50))
    assert sum(turn.text != one.record.id for turn, one in zip(turns, after, strict=True)) > 40
    for turn in turns:
        assert turn.completion_ids == (int(turn.text),)
        assert (turn.top.ids_TK == int(turn.text)).all()
        assert (turn.top.logprobs_TK == -int(turn.text)).all()


def test_scores_are_those_of_the_rows_that_the_report_is_about(trials: ModuleType, tmp_path: Path) -> None:
    chat = load_chat_format(Model("student", QUICKSTART / "student", "digest", 0, {}), at="student")
    small = small_run(make_job_folder(tmp_path), chat)
    assert small.run() == 0
    manifest = tmp_path / "job.yaml"
    manifest.write_text(small.manifest())
    run = LocalRun(load_manifest(manifest), tmp_path, small.job_folder.store, today=small.today)
    scores = trials.score_rows(run, small.job_folder.resolve(), store=small.job_folder.store)
    report = Report.model_validate_json((small.folder / "report.json").read_text())
    assert (len(scores), float(scores.mean())) == (8, report.arms.distilled.accuracy)
