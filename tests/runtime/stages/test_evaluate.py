"""Evaluate: how often an engine is started, what is measured again, and what the report says of time and cost."""

import json
from collections.abc import Sequence

import pytest

from kubedistill.contract import Pools, Prices
from kubedistill_runtime.checks.splits import sample
from kubedistill_runtime.records import Message, read_rows
from support.job_folder import write_records
from support.stage_runner import StageRunner
from support.trained_student import evaluate, with_student

ASK = Message("user", "reason step by step")


@pytest.fixture
def judged(runner: StageRunner) -> StageRunner:
    return with_student(runner)


def test_the_students_are_tested_and_timed_in_turn_in_one_engine(judged: StageRunner) -> None:
    report = evaluate(judged)
    assert judged.engines.opened == 1
    control = report["latencyControl"]
    tested, *sources = judged.engines.engine.loaded
    assert tested == "the distilled student", "the engine starts with the untrained one"
    assert len(sources) == control["rounds"] >= 5
    assert sources[0] == sources[2] != sources[1] == "the distilled student"
    assert control["outputTokens"] == 8, "the teacher says one word, which is too short"
    assert control["spread"][0] <= control["ratio"] <= control["spread"][1]
    for arm in report["arms"].values():
        assert arm["firstTokenSeconds"] > 0
        assert arm["hardware"] == "a function"
    assert "untimed" not in report["provenance"]
    rounds = [said.done for said in judged.said if said.unit == "rounds"]
    assert rounds == list(range(control["rounds"] + 1))


def test_all_arms_are_judged_on_one_sample(runner: StageRunner) -> None:
    write_records(runner.job_folder.root / "data" / "test.jsonl", [f"test asks {number}" for number in range(30)])
    runner.job_folder.set("evaluation.sampleLimit", 12)
    report = evaluate(with_student(runner))
    records = read_rows(runner.job_folder.store, runner.job_folder.keys()["rows"], "test")
    chosen = [record.id for record in sample(records, limit=12)]
    assert [one["id"] for one in report["examples"]] == chosen[: len(report["examples"])]
    assert chosen != [record.id for record in records[:12]]
    assert (report["comparison"]["rows"], report["comparison"]["totalRows"]) == (12, 12)


@pytest.mark.parametrize(
    ("hardware", "pool", "opened"),
    [("a function", "", 0), ("2 x NVIDIA H200", "", 1), ("a function", "cheap", 1)],
    ids=["the same machine", "other hardware", "another pool"],
)
def test_times_of_this_machine_are_used_again_and_no_others(
    hardware: str, pool: str, opened: int, judged: StageRunner
) -> None:
    before = evaluate(judged)
    judged.engines.opened, judged.engines.machine = 0, hardware
    report = evaluate(judged, pools=Pools(student=pool))
    assert judged.engines.opened == opened
    assert (report["latencyControl"] == before["latencyControl"]) is (opened == 0)
    assert report["arms"]["distilled"]["hardware"] == hardware
    assert report["arms"]["teacher"]["hardware"] == "a function", "the teacher's figures are those of Generate"
    noise = report["latencyControl"]["noise"]  # on a busy machine
    assert (report["reductions"]["latency"] is None) is (hardware != "a function" or noise)


def test_cost_is_that_of_the_pool_that_was_measured(judged: StageRunner) -> None:
    prices = Prices(teacher=8.0, student=2.0)
    assert evaluate(judged, prices=prices)["arms"]["teacher"]["costPerThousand"] > 0
    moved = evaluate(judged, pools=Pools(teacher="h200"), prices=prices)
    assert moved["arms"]["teacher"]["costPerThousand"] is None
    assert moved["arms"]["distilled"]["costPerThousand"] > 0
    assert moved["reductions"]["cost"] is None
    assert moved["provenance"]["unpriced"].keys() == {"teacher"}


def test_students_of_two_architectures_are_timed_apart_and_the_report_says_so(judged: StageRunner) -> None:
    path = judged.artifact("student") / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rms_norm_eps": 1e-5}))
    report = evaluate(judged)
    assert report["latencyControl"] is None
    assert "architectures differ" in report["provenance"]["untimed"]
    assert (judged.engines.opened, judged.engines.engine.loaded) == (2, [])
    assert report["arms"]["distilled"]["latencySeconds"] > 0


def test_an_engine_that_cannot_swap_weights_costs_the_comparison_and_not_the_report(
    judged: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubedistill.errors import InvalidModel
    from support.fake_engines import FunctionEngine

    def refuse(self: FunctionEngine, model: object) -> None:
        raise InvalidModel("no loader for it", at="student")

    with monkeypatch.context() as patch:
        patch.setattr(FunctionEngine, "load_weights", refuse)
        report = evaluate(judged)
    assert judged.engines.opened == 2, "each student has an engine of its own then"
    assert report["latencyControl"] is None
    assert report["provenance"]["untimed"] == "no loader for it"
    assert report["arms"]["distilled"]["latencySeconds"] > 0
    again = evaluate(judged)
    assert again["latencyControl"]["rounds"] >= 5, "a failure is not remembered as a measurement"
    assert "untimed" not in again["provenance"]


def test_prompts_that_leave_no_room_cost_the_comparison_and_not_the_report(
    judged: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubedistill_runtime.serving.alternation._MIN_TOKENS", 10_000)
    report = evaluate(judged)
    assert report["latencyControl"] is None
    assert "leave room for at most" in report["provenance"]["untimed"]
    assert report["arms"]["distilled"]["latencySeconds"] > 0


def test_an_engine_that_is_lost_while_it_is_timed_fails_the_stage(
    judged: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubedistill.errors import EngineLost
    from support.fake_engines import FunctionEngine

    def die(self: FunctionEngine, model: object) -> None:
        raise EngineLost("died", at="student")

    with monkeypatch.context() as patch:
        patch.setattr(FunctionEngine, "load_weights", die)
        with pytest.raises(EngineLost):
            evaluate(judged)
    assert evaluate(judged)["latencyControl"]["rounds"] >= 5


@pytest.mark.parametrize("kept", [False, True])
def test_the_final_answers_of_a_chain_of_thought_are_judged(*, kept: bool, runner: StageRunner) -> None:
    """The teacher is asked to reason, the students only if they learn it; the reply depends on what is asked."""
    runner.job_folder.set("task.chainOfThought", True)
    runner.job_folder.set("task.keepReasoning", kept)
    runner.job_folder.set("generation.maxTokens", 100)
    for length in ("teachers.0.model.maxModelLen", "training.maxLength"):
        runner.job_folder.set(length, 512)
    reasoned = 0

    def reply(prompt: Sequence[int], seed: int) -> list[int]:
        nonlocal reasoned
        is_asked = "reason step by step" in runner.chat.tokenizer.decode(list(prompt))
        reasoned += is_asked
        text = "no, no, but then again\nAnswer: yes" if is_asked else "yes"
        ids: list[int] = runner.chat.tokenizer.encode(text, add_special_tokens=False)
        return ids

    runner.engines.engine.reply = reply
    student = with_student(runner)
    before = reasoned
    report = evaluate(student)
    assert {name: (arm["accuracy"], arm["invalidRate"]) for name, arm in report["arms"].items()} == dict.fromkeys(
        ("teacher", "baseline", "distilled"), (1.0, 0.0)
    )
    assert (reasoned > before) == kept
    # The students are timed with the tokens of the teacher's reply only if they answer like it.
    assert report["latencyControl"]["outputTokens"] == (len(reply(runner.chat.prompt_ids([ASK]), 0)) + 1 if kept else 8)
    assert report["examples"][0]["teacher"] == ("no, no, but then again\nAnswer: yes" if kept else "yes")
