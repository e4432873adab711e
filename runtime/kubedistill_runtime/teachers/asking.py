"""Asking a served model for answers and figures: the engine is started only if something is missing."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from kubedistill.canonical import canonical_json
from kubedistill_runtime.answers import Answered
from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Record, prompt_messages
from kubedistill_runtime.serving.engine import Engines, Sampling, Serving
from kubedistill_runtime.serving.figures import MeasuredEngine, ServingFigures, measure
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
class Asking:
    """What asking gave: each question's rows, the model's figures, and what it took."""

    asked: dict[str, Asked]
    figures: ServingFigures
    tokens: int
    """Tokens generated this time; 0 where the library had everything."""
    generated: int
    """Answers generated this time."""


def ask(
    questions: Mapping[str, Question], *, serving: Serving, at: str, engines: Engines, store: Store, progress: Progress
) -> Asking:
    """Have a model answer questions, by name, and measure it while its engine is warm.

    The figures are kept beside the answers of the last question, so they are measured once per model.
    """
    asked = {}
    for name, question in questions.items():
        key = model_key(serving, sampling=question.sampling, seed=question.seed)
        asked[name] = Asked(make_rows(question.records, key=key, samples=question.samples), key)
    missing = {name: missing_rows(part.rows, key=part.key, store=store) for name, part in asked.items()}
    last = list(questions)[-1]
    place = f"rows/{asked[last].key}/serving.json"
    if not any(missing.values()) and store.exists(place):
        return Asking(asked, ServingFigures.from_values(json.loads(store.read(place))), 0, 0)
    progress.loading(f"starting the engine for {serving.model.source}")
    total, tokens, before = sum(len(part.rows) for part in asked.values()), 0, 0
    with engines.open(serving) as engine:
        chat = load_chat_format(serving.model, at=at)
        for name, question in questions.items():
            asker = Asker(engine, chat, question.sampling, serving.max_model_len, question.seed)
            part = asked[name]

            def report(done: int, made: int, *, before: int = before, tokens: int = tokens) -> None:
                figures = {"tokens": tokens + made}
                progress.working(done=before + done, total=total, unit="answers", figures=figures)

            tokens += answer_rows(part.rows, key=part.key, asker=asker, store=store, report=report)
            before += len(part.rows)
        if not store.exists(place):
            prompts = [chat.prompt_ids(prompt_messages(record)) for record in questions[last].records[:256]]
            fitting = [prompt for prompt in prompts if len(prompt) < serving.max_model_len]
            figures = measure(
                cast(MeasuredEngine, engine), fitting, serving=serving, sampling=questions[last].sampling,
                clock=time.monotonic,
            )  # fmt: skip
            store.put(place, canonical_json(figures.to_values()))
    figures = ServingFigures.from_values(json.loads(store.read(place)))
    return Asking(asked, figures, tokens, len({row.key for rows in missing.values() for row in rows}))
