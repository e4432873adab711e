"""Alternation: two students of one architecture timed in turn in one engine, so that a disturbance affects both.

Each round times the same prompts with both students; the running engine loads the weights of the other in between. A
second engine would not fit on a GPU that the first one fills, and an engine start per round would add noise.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Literal

from kubedistill.contract.artifacts import SnakeModel
from kubedistill.errors import InvalidModel
from kubedistill.json_values import JsonObject
from kubedistill.report.models import LatencyControl
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving.engine import Engine, Sampling
from kubedistill_runtime.serving.figures import (
    Spread,
    Stopwatch,
    Timing,
    median_token_seconds,
    percentile95,
    quartiles,
)

StudentName = Literal["baseline", "distilled"]

MIN_ROUNDS, MAX_ROUNDS = 5, 15
_SECONDS = 2.0
"""For fast students, more than five rounds fit into this time; each makes the median more precise."""
NOISE = 0.15
"""How much slower one of two equal architectures may be; a larger difference comes from the machine."""
_PROMPTS_PER_ROUND = 4
_MIN_TOKENS = 8
# Keys of a checkpoint's config that describe how it was saved, not what it computes.
_NOT_ARCHITECTURE = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"})


class Untimed(Exception):  # not a failure: the report is still made, and gives this reason
    """The reason why two students can't be timed in turn."""


class Latency(SnakeModel):
    """One student's times of an answer, in seconds."""

    latency_seconds: float
    latency_p95_seconds: float
    latency_quartiles_seconds: Spread
    first_token_seconds: float
    token_seconds: float | None
    answer_tokens: int
    """Length of the answer that latency_seconds refers to."""


class Alternation(SnakeModel):
    """Both students' times, and the control that shows whether they differ by more than noise."""

    baseline: Latency
    distilled: Latency
    control: LatencyControl


def alternate(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    *,
    students: Mapping[StudentName, Model],
    answer_tokens: int,
    max_model_len: int,
    clock: Callable[[], float],
    report: Callable[[int, int], None] = lambda _done, _rounds: None,
) -> Alternation:
    """Time both students in turn with answers of the same length; the engine has the distilled student's weights.

    Prompts are ids of earlier requests, shorter than `max_model_len`; `answer_tokens` is the teacher's median length.
    `report` is called in each round and may raise Stopped. Raises Untimed if no prompt leaves room for an answer that
    is long enough to be timed, or if the engine can't load other weights.
    """
    chosen, tokens = _choose(prompts, wanted=max(_MIN_TOKENS, answer_tokens), max_model_len=max_model_len)
    sampling = Sampling(max_tokens=tokens, ignore_end=True)
    watch, loaded = Stopwatch(engine, clock=clock), "distilled"
    timings: dict[StudentName, list[list[Timing]]] = {"baseline": [], "distilled": []}
    order: tuple[StudentName, ...] = ("distilled", "baseline")
    started, number = clock(), 0
    while number < MIN_ROUNDS or (number < MAX_ROUNDS and clock() - started < _SECONDS):
        report(number, max(MIN_ROUNDS, number))
        asked = [chosen[(number * _PROMPTS_PER_ROUND + place) % len(chosen)] for place in range(_PROMPTS_PER_ROUND)]
        for name in order:
            if name != loaded:
                _load(engine, students[name])
                loaded = name
            watch.answer(asked[0], sampling=sampling)  # new weights are cold
            timings[name].append([watch.answer(prompt, sampling=sampling) for prompt in asked])
        order = order[::-1]  # the second one is still loaded, so it is first in the next round
        number += 1
    report(number, number)
    ratios = [
        _typical(distilled) / _typical(baseline)
        for distilled, baseline in zip(timings["distilled"], timings["baseline"], strict=True)
    ]
    ratio = median(ratios)
    return Alternation(
        baseline=_summarize(timings["baseline"], answer_tokens=answer_tokens),
        distilled=_summarize(timings["distilled"], answer_tokens=answer_tokens),
        control=LatencyControl(
            rounds=number,
            output_tokens=tokens,
            ratio=ratio,
            spread=(min(ratios), max(ratios)),
            noise=max(ratio, 1 / ratio) - 1 > NOISE,
        ),
    )


def same_architecture(one: Model, other: Model) -> bool:
    """Return whether two checkpoints have equal configs in transformers, so that only their weights differ."""
    return _architecture(one) == _architecture(other)


def _architecture(model: Model) -> JsonObject:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model.path, trust_remote_code=model.trust_remote_code).to_dict()
    return {name: value for name, value in config.items() if name not in _NOT_ARCHITECTURE}


def _load(engine: Engine, student: Model) -> None:
    try:
        engine.load_weights(student)
    except InvalidModel as error:
        raise Untimed(error.problem) from error


def _choose(prompts: Sequence[Sequence[int]], *, wanted: int, max_model_len: int) -> tuple[list[Sequence[int]], int]:
    """Return the prompts that leave room for the wanted length, and that length; or the shortest prompt and what fits.

    Raises Untimed for fewer tokens than _MIN_TOKENS, since the time per token would be noise.
    """
    if roomy := [prompt for prompt in prompts if len(prompt) + wanted <= max_model_len]:
        return roomy[: MAX_ROUNDS * _PROMPTS_PER_ROUND], wanted
    shortest = min(prompts, key=len)
    if (room := max_model_len - len(shortest)) >= _MIN_TOKENS:
        return [shortest], room
    raise Untimed(
        f"the prompts leave room for at most {room} of the student's {max_model_len} tokens, but an answer must have "
        f"at least {_MIN_TOKENS} to be timed"
    )


def _typical(timings: Sequence[Timing]) -> float:
    return median(timing.whole for timing in timings)


def _summarize(rounds: Sequence[Sequence[Timing]], *, answer_tokens: int) -> Latency:
    timings = [timing for one in rounds for timing in one]
    seconds = [timing.seconds(answer_tokens) for timing in timings]
    return Latency(
        latency_seconds=median(seconds),
        latency_p95_seconds=percentile95(seconds),
        latency_quartiles_seconds=quartiles(seconds),
        first_token_seconds=median(timing.first for timing in timings),
        token_seconds=median_token_seconds(timings),
        answer_tokens=answer_tokens,
    )
