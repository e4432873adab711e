"""Asking: the engine is opened only if something is missing, and measured once while it is open."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from engines import FunctionEngine, FunctionEngines
from kubedistill.contract import StageProgress
from kubedistill_runtime.models import Model
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.asking import Asking, Question, ask

GREEDY = Sampling(max_tokens=16, k=2)


def records(count: int, *, split: str) -> list[Record]:
    return [Record(f"{split}-{number}", (Message("user", f"{split} {number}"),)) for number in range(count)]


@dataclass(slots=True)
class Desk:
    """A store, engines that are functions, and what was said."""

    model: Model
    store: Store
    engines: FunctionEngines = field(default_factory=FunctionEngines)
    said: list[StageProgress] = field(default_factory=list)

    def ask(self, **questions: Question) -> Asking:
        serving = Serving(self.model, max_model_len=128, k=2, stop_ids=(4,))
        return ask(
            questions, serving=serving, at="teacher", engines=self.engines, store=self.store,
            progress=Progress(self.said.append),
        )  # fmt: skip

    def afresh(self) -> FunctionEngine:
        """Engines that nobody has used."""
        self.engines, self.said = FunctionEngines(), []
        return self.engines.engine


@pytest.fixture
def desk(model: Model, store: Store) -> Desk:
    return Desk(model, store)


def questions(train: int = 20, test: int = 8) -> dict[str, Question]:
    sampled = Sampling(1.0, max_tokens=16, k=2)
    return {
        "train": Question(records(train, split="train"), sampled, samples=2, seed=3),
        "test": Question(records(test, split="test"), GREEDY),
    }


def test_all_questions_are_answered_and_counted_over_one_scale(desk: Desk) -> None:
    asking = desk.ask(**questions())
    assert {name: len(list(part.answers(desk.store))) for name, part in asking.asked.items()} == {
        "train": 40,
        "test": 8,
    }
    assert (asking.generated, desk.engines.opened) == (48, 1)
    assert [(said.state, said.done, said.total) for said in desk.said] == [
        ("Loading", 0, 0), ("Working", 0, 48), ("Working", 40, 48), ("Working", 40, 48), ("Working", 48, 48),
    ]  # fmt: skip
    tokens = [said.figures.get("tokens") for said in desk.said]
    assert tokens[1:] == [0, tokens[2], tokens[2], asking.tokens], "counted over all questions"


def test_nothing_missing_opens_no_engine_and_gives_the_same_answers_and_figures(desk: Desk) -> None:
    first = desk.ask(**questions())
    desk.afresh()
    again = desk.ask(**questions())
    assert (desk.engines.opened, again.tokens, again.generated, desk.said) == (0, 0, 0, [])
    assert again.figures == first.figures
    assert [one.answer.row_key for one in again.asked["test"].answers(desk.store)] == [
        one.answer.row_key for one in first.asked["test"].answers(desk.store)
    ]


def test_of_a_longer_list_only_what_is_new_is_asked_and_nothing_is_measured_again(desk: Desk) -> None:
    desk.ask(**questions())
    engine = desk.afresh()
    asking = desk.ask(**questions(train=23))
    assert asking.generated == 6
    assert len(engine.asked) == 6


def test_figures_that_are_gone_are_measured_again_without_asking_anew(desk: Desk) -> None:
    asking = desk.ask(**questions())
    desk.store.delete(f"rows/{asking.asked['test'].key}/serving.json")
    engine = desk.afresh()
    again = desk.ask(**questions())
    assert again.generated == 0
    assert set(engine.asked) == {prompt_of(one.answer.turns) for one in asking.asked["test"].answers(desk.store)}


def prompt_of(turns: Sequence[object]) -> tuple[int, ...]:
    return turns[0].prompt_ids  # type: ignore[attr-defined]


def test_a_prompt_of_two_questions_is_generated_once(desk: Desk) -> None:
    same = Question(records(8, split="both"), GREEDY)
    assert desk.ask(validation=same, test=same).generated == 8
