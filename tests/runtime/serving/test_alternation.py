"""Alternation: what both students are timed on, in which order, and when their difference is noise."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from kubedistill.errors import InvalidModel, Stopped
from kubedistill.stored import read_stored
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving.alternation import (
    MAX_ROUNDS,
    MIN_ROUNDS,
    Alternation,
    Untimed,
    alternate,
    same_architecture,
)
from kubedistill_runtime.serving.engine import Completion, Sampling, Serving
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.storage.store import Store
from support.job_folder import QUICKSTART
from support.messages import CheckMessage

BASELINE = Model("baseline", Path("baseline"), "one", 1000, {})
DISTILLED = Model("distilled", Path("distilled"), "two", 1000, {})
PROMPTS = [list(range(1, 5 + place)) for place in range(40)]


@dataclass(slots=True)
class Pair:
    """One engine for two students; `speed` gives seconds per token of (student, number of the call)."""

    speed: Callable[[str, int], float]
    loaded: str = "distilled"
    now: float = 0.0
    calls: list[tuple[str, int, int]] = field(default_factory=list)
    """(student, length of the prompt, tokens) of each call."""
    loads: list[str] = field(default_factory=list)

    def generate(
        self, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        assert sampling.ignore_end, "answers have one length"
        (prompt,) = prompts
        self.calls.append((self.loaded, len(prompt), sampling.max_tokens))
        self.now += self.speed(self.loaded, len(self.calls)) * (4 + sampling.max_tokens)
        return [Completion(tuple(range(sampling.max_tokens)), "length")]

    def load_weights(self, model: Model) -> None:
        self.loads.append(model.source)
        self.loaded = model.source

    def peak_bytes(self) -> int:
        return 0

    def alternate(
        self, *, tokens: int = 20, limit: int = 512, prompts: Sequence[Sequence[int]] = PROMPTS
    ) -> Alternation:
        return alternate(
            self,
            prompts,
            students={"baseline": BASELINE, "distilled": DISTILLED},
            answer_tokens=tokens,
            max_model_len=limit,
            clock=lambda: self.now,
        )


def ratio_of(ratio: float) -> Pair:
    return Pair(lambda name, call: ratio if name == "distilled" else 1.0)


@pytest.mark.parametrize(
    ("ratio", "noise"),
    [(1.0, False), (1.14, False), (0.88, False), (1.16, True), (0.86, True), (0.84, True), (1.6, True), (0.29, True)],
)
def test_more_than_15_percent_between_equal_architectures_is_noise(ratio: float, noise: bool) -> None:
    control = ratio_of(ratio).alternate().control
    assert control.ratio == pytest.approx(ratio)
    assert control.spread == pytest.approx((ratio, ratio))
    assert control.noise is noise


@given(ratio=st.floats(0.2, 5))
def test_noise_does_not_depend_on_which_student_is_the_slow_one(ratio: float) -> None:
    if abs(max(ratio, 1 / ratio) - 1.15) > 1e-6:  # the limit itself is a matter of rounding
        assert ratio_of(ratio).alternate().control.noise is ratio_of(1 / ratio).alternate().control.noise


def test_first_token_tokens_and_whole_answers_are_told_apart() -> None:
    found = Pair(lambda name, call: 0.002 if name == "distilled" else 0.001).alternate(tokens=20)
    assert found.baseline.first_token_seconds == pytest.approx(0.005)
    assert found.baseline.token_seconds == pytest.approx(0.001)
    assert found.baseline.latency_seconds == pytest.approx(0.024)
    assert found.distilled.latency_seconds == pytest.approx(0.048)
    assert found.distilled.latency_quartiles_seconds == pytest.approx((0.048, 0.048))


def test_both_are_asked_the_same_in_every_round_and_take_turns_at_going_first() -> None:
    pair = ratio_of(1.0)
    control = pair.alternate().control
    assert (control.rounds, MIN_ROUNDS) == (5, 5)
    assert pair.loads == ["baseline", "distilled", "baseline", "distilled", "baseline"], "one load a round"
    for name in ("baseline", "distilled"):
        lengths = [length for student, length, tokens in pair.calls if student == name]
        assert lengths == [length for student, length, tokens in pair.calls if student == "distilled"]
    firsts = [name for place, (name, *_) in enumerate(pair.calls) if place % (len(pair.calls) // 5) == 0]
    assert firsts == ["distilled", "baseline", "distilled", "baseline", "distilled"]


@pytest.mark.parametrize(("seconds", "rounds"), [(1.0, 5), (0.0009, 8), (0.00001, MAX_ROUNDS)])
def test_quick_students_are_timed_in_more_rounds(seconds: float, rounds: int) -> None:
    pair = Pair(lambda name, call: seconds)
    assert pair.alternate(tokens=20).control.rounds == rounds
    assert len(pair.loads) == rounds


def test_a_burst_of_load_moves_one_round_and_not_the_ratio() -> None:
    """Ten calls of a hundred are six times as slow, all of them one student's."""
    pair = Pair(lambda name, call: 6.0 if 60 < call <= 70 else 1.0)
    control = pair.alternate().control
    assert control.ratio == pytest.approx(1.0)
    assert control.noise is False
    assert control.spread == pytest.approx((1 / 6, 1.0))


@pytest.mark.parametrize(
    ("teacher", "limit", "timed"),
    [
        pytest.param(20, 512, 20, id="the teacher's length"),
        pytest.param(2, 512, 8, id="a label is too short to time"),
        pytest.param(400, 100, 96, id="what the student's limit leaves to the shortest prompt"),
        pytest.param(60, 70, 60, id="prompts that leave the room"),
    ],
)
def test_answers_have_one_length_within_the_limit(teacher: int, limit: int, timed: int) -> None:
    pair = ratio_of(1.0)
    found = pair.alternate(tokens=teacher, limit=limit)
    assert found.control.output_tokens == timed
    assert {tokens for _, _, tokens in pair.calls} == {1, timed}
    assert all(length + tokens <= limit for _, length, tokens in pair.calls)
    assert found.baseline.answer_tokens == teacher
    assert found.baseline.latency_seconds == pytest.approx(4 + teacher), "as long as the teacher's answer would take"


@pytest.mark.parametrize("room", [1, 2, 7])
def test_prompts_that_leave_room_for_a_few_tokens_are_not_timed(room: int, check_message: CheckMessage) -> None:
    pair = ratio_of(1.0)
    with pytest.raises(Untimed) as refused:
        pair.alternate(prompts=[[1] * (64 - room), [1] * 63], limit=64)
    check_message(refused.value, room, 64)
    assert (pair.calls, pair.loads) == ([], [])


def test_one_prompt_with_room_is_timed_alone_among_many_without() -> None:
    pair = ratio_of(1.0)
    found = pair.alternate(prompts=[[1] * 62, [1] * 44, [1] * 63], tokens=20, limit=64)
    assert found.control.output_tokens == 20
    assert {length for _, length, _ in pair.calls} == {44}
    assert found.baseline.token_seconds == pytest.approx(1.0)


def test_the_least_length_that_can_be_timed_is_timed() -> None:
    found = ratio_of(1.0).alternate(prompts=[[1] * 56, [1] * 60], tokens=400, limit=64)
    assert (found.control.output_tokens, found.baseline.token_seconds) == (8, pytest.approx(1.0))


def test_an_engine_that_takes_no_other_weights_times_nothing(check_message: CheckMessage) -> None:
    class Fixed(Pair):
        def load_weights(self, model: Model) -> None:
            raise InvalidModel("no loader for it", at="student")

    with pytest.raises(Untimed) as refused:
        Fixed(lambda name, call: 1.0).alternate()
    check_message(refused.value)


@given(
    speeds=st.lists(st.floats(0.1, 10), min_size=2, max_size=2), prompts=st.integers(1, 30), tokens=st.integers(1, 60)
)
def test_the_ratio_is_that_of_the_speeds_whatever_is_asked(speeds: list[float], prompts: int, tokens: int) -> None:
    pair = Pair(lambda name, call: speeds[name == "distilled"])
    found = pair.alternate(prompts=PROMPTS[:prompts], tokens=tokens)
    assert found.control.ratio == pytest.approx(speeds[1] / speeds[0], rel=1e-6)
    assert found.control.spread[0] <= found.control.ratio <= found.control.spread[1]


def test_it_survives_json() -> None:
    found = ratio_of(1.3).alternate()
    assert read_stored(Alternation, found.to_values()) == found


def test_who_is_asked_to_stop_stops_between_rounds() -> None:
    def stop(done: int, rounds: int) -> None:
        if done == 2:
            raise Stopped("asked to")

    pair = ratio_of(1.0)
    with pytest.raises(Stopped):
        alternate(
            pair,
            PROMPTS,
            students={"baseline": BASELINE, "distilled": DISTILLED},
            answer_tokens=8,
            max_model_len=512,
            clock=lambda: pair.now,
            report=stop,
        )
    assert len(pair.loads) == 2


def copy_student(folder: Path, **changes: object) -> Model:
    """Return the quickstart's student with a changed config."""
    shutil.copytree(QUICKSTART / "student", folder)
    config = json.loads((folder / "config.json").read_text())
    values = {name: value for name, value in {**config, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(values))
    return find_model(str(folder), trust_remote_code=False, data_root=folder, store=Store(folder.parent), at="student")


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        pytest.param({}, True, id="equal"),
        pytest.param({"transformers_version": "4.40.0", "dtype": "float32"}, True, id="saved by another version"),
        pytest.param({"rope_parameters": None, "rope_theta": 10000.0}, True, id="the older form of rope"),
        pytest.param({"use_cache": None, "mlp_bias": None}, True, id="defaults left out"),
        pytest.param({"num_hidden_layers": 1}, False, id="fewer layers"),
        pytest.param({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, False, id="another rope"),
        pytest.param({"tie_word_embeddings": False}, False, id="a head of its own"),
    ],
)
def test_an_architecture_is_all_but_the_weights(changes: dict[str, object], same: bool, tmp_path: Path) -> None:
    assert same_architecture(copy_student(tmp_path / "one"), copy_student(tmp_path / "two", **changes)) is same


def shake(folder: Path, *, tied: bool) -> Path:
    """Give a student other weights, and a head of its own where it is not tied."""
    weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    generator = torch.Generator().manual_seed(len(folder.name))
    if not tied:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    shaken = {name: tensor + 0.02 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}
    save_file(shaken, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.engine
@pytest.mark.parametrize("tied", [True, False], ids=["tied head", "own head"])
def test_weights_loaded_into_an_engine_answer_as_in_an_engine_of_their_own(
    tied: bool, engines: LocalEngines, tmp_path: Path
) -> None:
    models = {}
    for name in ("first", "other one"):
        copy_student(tmp_path / name, tie_word_embeddings=tied)
        shake(tmp_path / name, tied=tied)
        models[name] = find_model(
            str(tmp_path / name),
            trust_remote_code=False,
            data_root=tmp_path,
            store=Store(tmp_path),
            at="student",
        )
    sampling, prompts = Sampling(max_tokens=6, k=4, ignore_end=True), [list(range(5, 30)), list(range(90, 99))]

    def answers(engine: object) -> list[tuple[tuple[int, ...], list[list[float]]]]:
        completions = engine.generate(prompts, sampling=sampling, seeds=[0, 0])  # type: ignore[attr-defined]
        assert all(len(one.ids) == 6 and one.finish == "length" for one in completions)
        return [(one.ids, one.top.logprobs_TK.tolist()) for one in completions]

    with engines.open(Serving(models["first"], max_model_len=128, k=4)) as engine:
        first = answers(engine)
    with engines.open(Serving(models["other one"], max_model_len=128, k=4)) as engine:
        other = answers(engine)
        engine.load_weights(models["first"])
        assert answers(engine) == first
        engine.load_weights(models["other one"])
        assert answers(engine) == other
    assert first != other
