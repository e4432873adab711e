"""Asking: the engine is opened only if something is missing, and measured once while it is open."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kubedistill.contract import StageProgress
from kubedistill.errors import InvalidManifest, LowYield
from kubedistill_runtime.models import Model
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving.engine import Constraint, Sampling, Serving
from kubedistill_runtime.serving.figures import Machine
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers import cache
from kubedistill_runtime.teachers.generate import GenerationResult, Request, generate_answers
from support.chat_models import FAMILIES, write_chat_model
from support.fake_engines import FunctionEngine, FunctionEngines
from support.messages import CheckMessage

HERE = Machine("a processor, 2 cores")
GREEDY = Sampling(max_tokens=16, k=2)


def records(count: int, *, split: str) -> list[Record]:
    return [Record(f"{split}-{number}", (Message("user", f"{split} {number}"),)) for number in range(count)]


@dataclass(slots=True)
class GenerationHarness:
    """A store, engines that are functions, and what was said."""

    model: Model
    store: Store
    engines: FunctionEngines = field(default_factory=FunctionEngines)
    said: list[StageProgress] = field(default_factory=list)
    machine: Machine = HERE
    constraint: Constraint | None = None

    def generate(self, **requests: Request) -> GenerationResult:
        serving = Serving(self.model, max_model_len=128, k=2, stop_ids=(4,), constraint=self.constraint)
        return generate_answers(
            requests,
            serving=serving,
            at="teacher",
            open_engine=self.engines.open,
            store=self.store,
            progress=Progress(self.said.append),
            machine=self.machine,
        )

    def afresh(self) -> FunctionEngine:
        """Return engines that nobody has used."""
        self.engines, self.said = FunctionEngines(), []
        return self.engines.engine


@pytest.fixture
def harness(model: Model, store: Store) -> GenerationHarness:
    return GenerationHarness(model, store)


def questions(train: int = 20, test: int = 8) -> dict[str, Request]:
    sampled = Sampling(1.0, max_tokens=16, k=2)
    return {
        "train": Request(records(train, split="train"), sampled, samples=2, seed=3),
        "test": Request(records(test, split="test"), GREEDY),
    }


def test_all_questions_are_answered_and_counted_over_one_scale(harness: GenerationHarness) -> None:
    result = harness.generate(**questions())
    assert {name: len(list(part.answers())) for name, part in result.pending.items()} == {
        "train": 40,
        "test": 8,
    }
    assert (result.generated, harness.engines.opened) == (48, 1)
    said = [(one.state, one.done, one.total) for one in harness.said]
    assert said[0] == ("Loading", 0, 0)
    assert set(said[1:]) >= {("Working", done, 48) for done in (0, 40, 48)}
    counts = [(one.done, one.figures["tokens"]) for one in harness.said[1:]]
    assert counts == sorted(counts)
    assert counts[-1] == (48, result.tokens), "counted over all questions"


def test_nothing_missing_opens_no_engine_and_gives_the_same_answers_and_figures(harness: GenerationHarness) -> None:
    first = harness.generate(**questions())
    harness.afresh()
    again = harness.generate(**questions())
    assert (harness.engines.opened, again.tokens, again.generated, harness.said) == (0, 0, 0, [])
    assert again.figures == first.figures
    assert [one.answer.row_key for one in again.pending["test"].answers()] == [
        one.answer.row_key for one in first.pending["test"].answers()
    ]


def test_a_shard_is_scanned_at_most_once_for_each_model(
    harness: GenerationHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned: list[Path] = []
    decode = cache.decode_states
    monkeypatch.setattr(cache, "decode_states", lambda path: scanned.append(path) or decode(path))
    requests = questions(train=300, test=300)
    harness.generate(**requests)
    assert scanned == [], "what this run has written needs no look"
    harness.afresh()
    result = harness.generate(**requests)
    assert [part.count_ended() for part in result.pending.values()] == [600, 300]
    assert len(scanned) == len(set(scanned)) == 3 + 2


def test_other_prompts_have_figures_of_their_own(harness: GenerationHarness) -> None:
    """Times of one job's short prompts say nothing of another's long ones."""
    short = harness.generate(test=Request(records(8, split="short"), GREEDY))
    long = [Record(f"l{place}", (Message("user", f"{place} and so on " * 9),)) for place in range(8)]
    engine = harness.afresh()
    harness.generate(test=Request(long, GREEDY))
    timed = [prompt for batch in engine.batches[1:] for prompt in batch]
    assert min(map(len, timed)) > 30
    assert len(figures_of(harness, short)) == 2
    assert len(harness.generate(test=Request(records(8, split="short"), GREEDY)).pending["test"].rows) == 8


def test_only_new_prompts_of_a_longer_list_are_generated_and_nothing_is_measured_again(
    harness: GenerationHarness,
) -> None:
    harness.generate(**questions())
    engine = harness.afresh()
    result = harness.generate(**questions(train=23))
    assert result.generated == 6
    assert len(engine.asked) == 6


def test_figures_that_are_gone_are_measured_again_without_generating_again(harness: GenerationHarness) -> None:
    result = harness.generate(**questions())
    (figures,) = figures_of(harness, result)
    harness.store.delete(figures)
    engine = harness.afresh()
    again = harness.generate(**questions())
    assert again.generated == 0
    assert set(engine.asked) == {prompt_of(one.answer.turns) for one in result.pending["test"].answers()}


def figures_of(harness: GenerationHarness, result: GenerationResult) -> list[str]:
    return [name for name in harness.store.names(f"rows/{result.pending['test'].key}") if "/serving-" in name]


@pytest.mark.parametrize(
    ("hardware", "pool", "opened"),
    [
        pytest.param("a processor, 2 cores", "", 0, id="the same machine"),
        pytest.param("a processor, 8 cores", "", 1, id="more cores"),
        pytest.param("2 x NVIDIA H200", "", 1, id="other hardware"),
        pytest.param("a processor, 2 cores", "cheap", 1, id="a pool"),
    ],
)
def test_figures_are_those_of_this_machine_and_pool(
    hardware: str, pool: str, opened: int, harness: GenerationHarness
) -> None:
    harness.generate(**questions())
    engine = harness.afresh()
    harness.machine = Machine(hardware, pool)
    result = harness.generate(**questions())
    assert (result.figures.hardware, result.figures.pool) == (hardware, pool)
    assert (harness.engines.opened, result.generated) == (opened, 0), "answers are the same anywhere"
    assert bool(engine.asked) == bool(opened)
    harness.machine = HERE
    harness.afresh()
    harness.generate(**questions())
    assert harness.engines.opened == 0, "figures of the other machine replaced none"


def test_a_conversation_is_timed_on_the_prompt_that_was_asked(harness: GenerationHarness) -> None:
    conversation = (Message("system", "Be kind"), Message("user", "one"), Message("user", "two"))
    result = harness.generate(test=Request([Record("talk", conversation)], GREEDY))
    (answered,) = result.pending["test"].answers()
    first, second = (turn.prompt_ids for turn in answered.answer.turns)
    asked = harness.engines.engine.asked
    assert asked[:2] == [first, second]
    assert set(asked[2:]) == {first}, "no user sends two turns in a row"


def test_a_prompt_that_ends_the_engine_is_not_timed(harness: GenerationHarness) -> None:
    plain = harness.generate(**questions())
    deadly = prompt_of(next(plain.pending["test"].answers()).answer.turns)
    harness.store = Store(harness.store.root / "other")
    engine = harness.afresh()
    engine.deadly = deadly
    result = harness.generate(**questions())
    assert result.figures.answer_tokens is not None
    assert [one.record.id for one in result.pending["test"].answers() if not one.answer.turns] == ["test-0"]


def test_where_no_prompt_can_be_asked_there_is_a_reason(
    harness: GenerationHarness, check_message: CheckMessage
) -> None:
    long = Request([Record("long", (Message("user", "word " * 400),))], GREEDY)
    with pytest.raises(LowYield) as caught:
        harness.generate(test=long)
    assert caught.value.at == "teacher"
    check_message(caught.value, 128)


def prompt_of(turns: Sequence[object]) -> tuple[int, ...]:
    return turns[0].prompt_ids  # type: ignore[attr-defined]


def test_a_prompt_of_two_questions_is_generated_once(harness: GenerationHarness) -> None:
    same = Request(records(8, split="both"), GREEDY)
    assert harness.generate(validation=same, test=same).generated == 8


@pytest.mark.parametrize(("family", "refused"), [("deepseek-r1", True), ("qwen-3", False)])
def test_a_model_whose_prompts_begin_reasoning_is_not_forced_into_a_form(
    family: str, refused: bool, harness: GenerationHarness, tmp_path: Path, check_message: CheckMessage
) -> None:
    harness.model = write_chat_model(tmp_path / family, FAMILIES[family])
    harness.constraint = Constraint(regex="[a-z]+")
    asked = Request(records(1, split="test"), Sampling(max_tokens=4, constraint=harness.constraint))
    if not refused:
        assert harness.generate(test=asked).generated == 1
        return
    with pytest.raises(InvalidManifest) as caught:
        harness.generate(test=asked)
    check_message(caught.value, "spec.generation.structuredOutput", family)
