"""Asking a served model for answers and figures: the engine is started only if something is missing."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from kubedistill.canonical import canonical_json, digest
from kubedistill.errors import LowYield
from kubedistill_runtime.answers import Answered
from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Record
from kubedistill_runtime.serving.engine import Engine, Engines, Sampling, Serving
from kubedistill_runtime.serving.figures import PROMPTS, Machine, ServingFigures, measure
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.answering import Asker, answer_rows, collect_answers, count_ended, missing_rows
from kubedistill_runtime.teachers.library import Row, make_rows, model_key


@dataclass(frozen=True, slots=True)
class Question:
    """A set of records to be answered in one way."""

    records: Sequence[Record]
    sampling: Sampling
    samples: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One question's rows, and the model key under which the library has their answers."""

    rows: list[Row]
    key: str

    def answers(self, store: Store) -> Iterator[Answered]:
        """The answers, in the order of the records."""
        return collect_answers(self.rows, key=self.key, store=store)

    def count_ended(self, store: Store) -> int:
        """How many answers came to their end by themselves."""
        return count_ended(self.rows, key=self.key, store=store)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What else is taken of an engine while it is warm; the result is kept under this name beside the answers."""

    name: str
    take: Callable[[Engine, Sequence[Sequence[int]]], dict[str, Any]]
    """JSON values from the engine and the prompts that it was asked, as ids."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What asking gave: each question's rows, the model's figures, and what it took."""

    asked: dict[str, Asked]
    figures: ServingFigures
    measured: dict[str, dict[str, Any]]
    """What else was measured, by name."""
    tokens: int
    """Tokens generated this time; 0 where the library had everything."""
    generated: int
    """Answers generated this time."""


def ask(
    questions: Mapping[str, Question],
    *,
    serving: Serving,
    at: str,
    engines: Engines,
    store: Store,
    progress: Progress,
    machine: Machine,
    also: Sequence[Measurement] = (),
) -> Asking:
    """Have a model answer questions, by name, and measure it while its engine is warm.

    The figures are kept beside the answers of the last question, so they are measured once per model and machine.
    """
    asked = {}
    for name, question in questions.items():
        key = model_key(serving, sampling=question.sampling, seed=question.seed)
        asked[name] = Asked(make_rows(question.records, key=key, samples=question.samples), key)
    missing = {name: missing_rows(part.rows, key=part.key, store=store) for name, part in asked.items()}
    last = list(questions)[-1]

    def take_figures(engine: Engine, prompts: Sequence[Sequence[int]]) -> dict[str, Any]:
        sampling = replace(questions[last].sampling, k=0)  # a teacher's alternatives cost time that no user spends
        figures = measure(engine, prompts, serving=serving, sampling=sampling, machine=machine, clock=time.monotonic)
        return figures.to_values()

    own = Measurement(f"serving-{digest(asdict(machine))}", take_figures)
    # Figures are of these prompts: another job's may be longer.
    workload = digest([row.key for row in asked[last].rows[:PROMPTS]])[:16]
    wanted = {one.name: f"rows/{asked[last].key}/{one.name}-{workload}.json" for one in (own, *also)}
    tokens = 0
    if any(missing.values()) or not all(store.exists(place) for place in wanted.values()):
        progress.loading(f"starting the engine for {serving.model.source}")
        with engines.open(serving) as engine:
            tokens = _answer(questions, asked, engine=engine, serving=serving, at=at, store=store, progress=progress)
            for one in (own, *also):
                if not store.exists(wanted[one.name]):
                    prompts = _asked_prompts(asked[last], serving=serving, store=store, at=at)
                    store.put(wanted[one.name], canonical_json(one.take(engine, prompts)))
    measured = {name: json.loads(store.read(place)) for name, place in wanted.items()}
    figures = ServingFigures.from_values(measured.pop(own.name))
    return Asking(asked, figures, measured, tokens, len({row.key for rows in missing.values() for row in rows}))


def _answer(
    questions: Mapping[str, Question],
    asked: Mapping[str, Asked],
    *,
    engine: Engine,
    serving: Serving,
    at: str,
    store: Store,
    progress: Progress,
) -> int:
    """Have all questions answered; returns the tokens generated."""
    chat = load_chat_format(serving.model, at=at, date=serving.date)
    total, tokens, before = sum(len(part.rows) for part in asked.values()), 0, 0
    for name, question in questions.items():
        asker = Asker(engine, chat, question.sampling, serving.max_model_len, question.seed)
        part = asked[name]

        def report(done: int, made: int, *, before: int = before, tokens: int = tokens) -> None:
            figures = {"tokens": tokens + made}
            progress.working(done=before + done, total=total, unit="answers", figures=figures)

        tokens += answer_rows(part.rows, key=part.key, asker=asker, store=store, report=report)
        before += len(part.rows)
    return tokens


def _asked_prompts(asked: Asked, *, serving: Serving, store: Store, at: str) -> list[tuple[int, ...]]:
    """The first turn's prompt of each answer, as the model was really asked it."""
    answers = collect_answers(asked.rows[:PROMPTS], key=asked.key, store=store)
    prompts = [one.answer.turns[0].prompt_ids for one in answers if one.answer.turns]
    if fitting := [prompt for prompt in prompts if len(prompt) < serving.max_model_len]:
        return fitting
    raise LowYield(
        f"no prompt fits the {serving.max_model_len} tokens of {serving.model.source}, or each of them ends its engine",
        at=at,
        fix="Shorten the prompts, or raise maxModelLen where the model has more positions",
    )
