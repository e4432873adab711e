"""Generate answers and serving figures with a served model; its engine starts only if something is missing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import mean

from kubedistill.canonical import canonical_json, digest
from kubedistill.contract import StoredModel
from kubedistill.contract.artifacts import ServingFigures
from kubedistill.errors import InvalidManifest, LowYield
from kubedistill.stored import read_stored_json
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Message, open_turns
from kubedistill_runtime.serving.engine import Engine, OpenEngine, Serving
from kubedistill_runtime.serving.figures import PROMPTS, Machine, measure
from kubedistill_runtime.speeds import GenerationSpeed, count_copies, record_generation, serving_key
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.batches import answer_rows, collect_answers
from kubedistill_runtime.teachers.cache import model_key
from kubedistill_runtime.teachers.conversation import Generator
from kubedistill_runtime.teachers.requests import (
    GenerationResult,
    Pending,
    Report,
    Request,
    answer_in_turn,
    find_missing,
    plan_rows,
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A further measurement of a warm engine; the result is stored under this name next to the answers."""

    name: str
    take: Callable[[Engine, Sequence[Sequence[int]]], StoredModel]
    """Return the measurement, given the engine and the prompts that it answered, as ids."""


def generate_answers(
    requests: Mapping[str, Request],
    *,
    serving: Serving,
    at: str,
    open_engine: OpenEngine,
    store: Store,
    progress: Progress,
    machine: Machine,
    also: Sequence[Measurement] = (),
) -> GenerationResult[ServingFigures]:
    """Answer requests, by name, and measure the model while its engine is warm.

    The figures are stored next to the answers of the last request, so they are measured once per model and machine.
    """
    pending = plan_rows(
        requests, key_of=lambda request: model_key(serving, sampling=request.sampling, seed=request.seed), store=store
    )
    missing = find_missing(pending)
    last = list(requests)[-1]

    def take_figures(engine: Engine, prompts: Sequence[Sequence[int]]) -> ServingFigures:
        # Alternatives cost time that a user would not spend, and a form would end replies that must all be as long.
        sampling = replace(requests[last].sampling, k=0, constraint=None)
        return measure(engine, prompts, serving=serving, sampling=sampling, machine=machine, clock=time.monotonic)

    own = Measurement(f"serving-{digest(asdict(machine))}", take_figures)
    # The figures depend on these prompts: those of another job may be longer.
    workload = digest([row.key for row in pending[last].rows[:PROMPTS]])[:16]
    wanted = {one.name: f"rows/{pending[last].key}/{one.name}-{workload}.json" for one in (own, *also)}
    tokens = 0
    if missing or not all(store.exists(place) for place in wanted.values()):
        progress.loading(f"starting the engine for {serving.model.source}")
        report = partial(progress.downloading, serving.model.source)
        with open_engine(serving, report=report, worked=progress.generated) as engine:
            engine.start()
            started = time.monotonic()
            tokens = _answer(requests, pending, engine=engine, serving=serving, at=at, progress=progress)
            seconds = time.monotonic() - started
            prompts = _prompts_of(pending[last], serving=serving, at=at)
            answers = sum(len(open_turns(row.record)) for row in missing)
            speed = _speed(answers, prompts, serving=serving, machine=machine, tokens=tokens, seconds=seconds)
            record_generation(store, serving_key(serving), speed)
            for one in (own, *also):
                if not store.exists(wanted[one.name]):
                    store.put(wanted[one.name], canonical_json(one.take(engine, prompts).to_values()))
    measured = {name: store.read(place) for name, place in wanted.items()}
    figures = read_stored_json(ServingFigures, measured.pop(own.name))
    return GenerationResult(pending, figures, tokens, len(missing), measured)


def _answer(
    requests: Mapping[str, Request],
    pending: Mapping[str, Pending],
    *,
    engine: Engine,
    serving: Serving,
    at: str,
    progress: Progress,
) -> int:
    """Answer all requests, and return the number of generated tokens."""
    chat = load_chat_format(serving.model, at=at, date=serving.date)
    if serving.constraint is not None:
        _check_free_of_reasoning(chat, serving=serving)

    def answer(request: Request, part: Pending, report: Report) -> int:
        generator = Generator(engine, chat, request.sampling, serving.max_model_len, request.seed)
        return answer_rows(part.rows, cache=part.cache, generator=generator, report=report)

    return answer_in_turn(requests, pending, answer=answer, progress=progress)


def _speed(
    answers: int,
    prompts: Sequence[Sequence[int]],
    *,
    serving: Serving,
    machine: Machine,
    tokens: int,
    seconds: float,
) -> GenerationSpeed:
    """Return the speed at which an engine has generated all tokens of a number of answers."""
    return GenerationSpeed(
        answers=answers,
        prompt_tokens=mean(map(len, prompts)),
        answer_tokens=tokens / max(1, answers),
        copies=count_copies(serving.hardware, gpus=serving.gpus),
        seconds=seconds,
        hardware=machine.hardware,
    )


def _check_free_of_reasoning(chat: ChatFormat, *, serving: Serving) -> None:
    """Refuse a model whose prompts begin reasoning, since replies of the answer's form would be within it."""
    prompt = chat.render([Message("user", "?")], asking=True).rstrip()
    if chat.reasoning is not None and prompt.endswith(chat.reasoning[0]):
        raise InvalidManifest(
            f"{serving.model.source} reasons before it answers, so its replies can't be forced into the answer's form",
            at="spec.generation.structuredOutput",
            fix="Remove it, or use a teacher that does not reason",
        )


def _prompts_of(pending: Pending, *, serving: Serving, at: str) -> list[tuple[int, ...]]:
    """Return the first prompt of each answer, as the model received it."""
    answers = collect_answers(pending.rows[:PROMPTS], cache=pending.cache, distributions=False)
    prompts = [one.answer.turns[0].prompt_ids for one in answers if one.answer.turns]
    if fitting := [prompt for prompt in prompts if len(prompt) < serving.max_model_len]:
        return fitting
    raise LowYield(
        f"no prompt fits into the {serving.max_model_len} tokens of {serving.model.source}, or each crashes its engine",
        at=at,
        fix="Shorten the prompts, or raise maxModelLen if the model has more positions",
    )
