"""Serving figures: what is timed, on what, and what is read of figures that another version stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.contract.artifacts import ServingFigures
from kubedistill.stored import read_stored
from kubedistill_runtime.models import Model
from kubedistill_runtime.serving import hardware, session
from kubedistill_runtime.serving.engine import Completion, Sampling, Serving
from kubedistill_runtime.serving.figures import Machine, Timing, measure, percentile95, quartiles
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.serving.vllm_engine import VllmActor

MODEL = Model(
    "model", Path("model"), "digest", 1000, {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8}
)
SERVING = Serving(MODEL, max_model_len=64, tensor_parallel_size=2)
REQUIRED = {
    "latency_seconds": 0.2, "latency_p95_seconds": 0.3, "throughput_per_hour": 100.0, "tokens_per_second": 5.0,
    "memory_bytes": 4, "peak_memory_bytes": 9, "hardware": "cpu", "versions": {"python": "3.11"},
}  # fmt: skip


@dataclass(slots=True)
class ClockedEngine:
    """An engine whose answers take time on its own clock: so much to the first token, and so much for each other."""

    first: Callable[[Sequence[int]], float]
    token: float
    length: Callable[[Sequence[int]], int]
    """Tokens of the answer to a prompt that may end."""
    now: float = 0.0
    asked: list[tuple[int, Sampling]] = field(default_factory=list)
    """(prompts of the batch, how) of each call."""

    def generate(
        self, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        self.asked.append((len(prompts), sampling))
        tokens = [self._tokens(prompt, sampling) for prompt in prompts]
        self.now += max(map(self.first, prompts)) + (max(tokens) - 1) * self.token
        return [Completion(tuple(range(count)), "stop") for count in tokens]

    def _tokens(self, prompt: Sequence[int], sampling: Sampling) -> int:
        return sampling.max_tokens if sampling.ignore_end else min(self.length(prompt), sampling.max_tokens)

    def load_weights(self, model: Model) -> None:
        raise AssertionError("one model is measured")

    def peak_bytes(self) -> int:
        return 77


def measured(engine: ClockedEngine, prompts: Sequence[Sequence[int]]) -> ServingFigures:
    machine = Machine("2 x NVIDIA H200", "h200")
    return measure(
        engine, prompts, serving=SERVING, sampling=Sampling(max_tokens=50), machine=machine, clock=lambda: engine.now
    )


def test_first_token_and_others_are_told_apart() -> None:
    engine = ClockedEngine(first=lambda prompt: 0.5, token=0.01, length=lambda prompt: 11)
    found = measured(engine, [[1, 2]] * 300)
    assert found.first_token_seconds == pytest.approx(0.5)
    assert found.token_seconds == pytest.approx(0.01)
    assert found.latency_seconds == pytest.approx(0.6)
    assert found.answer_tokens == 11
    assert found.throughput_per_hour == pytest.approx(256 / 0.6 * 3600)
    assert found.tokens_per_second == pytest.approx(256 * 11 / 0.6)
    assert (found.hardware, found.pool, found.gpus, found.peak_memory_bytes) == ("2 x NVIDIA H200", "h200", 2, 77)


def test_the_spread_of_single_answers_is_kept() -> None:
    engine = ClockedEngine(first=lambda prompt: 1.0 * prompt[0], token=0.0, length=lambda prompt: 2)
    found = measured(engine, [[place] for place in range(1, 17)])
    assert found.latency_seconds == pytest.approx(8.5)
    assert found.latency_quartiles_seconds == pytest.approx((4.75, 12.25))
    assert found.latency_p95_seconds == pytest.approx(15.25)


def test_answers_of_one_token_have_no_time_per_token() -> None:
    found = measured(ClockedEngine(first=lambda prompt: 0.5, token=9.0, length=lambda prompt: 1), [[1]] * 4)
    assert (found.token_seconds, found.first_token_seconds, found.answer_tokens) == (None, 0.5, 1)


@given(values=st.lists(st.floats(0, 100), min_size=1, max_size=40))
def test_quartiles_and_percentiles_are_within_what_was_measured(values: list[float]) -> None:
    first, third = quartiles(values)
    slack = 1e-9 * max(values)
    assert min(values) - slack <= first <= third + slack <= max(values) + 2 * slack
    assert third - slack <= percentile95(values) <= max(values) + slack


@pytest.mark.parametrize(
    ("values", "spread", "high"),
    [([0.1, 5.0], (1.325, 3.775), 4.755), ([1.0, 1.0, 9.0], (1.0, 5.0), 8.2), ([3.0], (3.0, 3.0), 3.0)],
)
def test_few_values_are_not_drawn_beyond_their_ends(
    values: list[float], spread: tuple[float, float], high: float
) -> None:
    """Quantiles of a population, which are drawn beyond the data, are -1.125, 6.225 and 9.165 for the first."""
    assert quartiles(values) == pytest.approx(spread)
    assert percentile95(values) == pytest.approx(high)


def test_one_prompt_is_enough() -> None:
    found = measured(ClockedEngine(first=lambda prompt: 0.5, token=0.1, length=lambda prompt: 6), [[1]])
    assert found.latency_quartiles_seconds == (1.0, 1.0)
    assert found.latency_p95_seconds == found.latency_seconds == pytest.approx(1.0)


@given(
    first=st.floats(0.001, 10), token=st.floats(0, 1), measured=st.integers(2, 400), wanted=st.integers(1, 400)
)  # fmt: skip
def test_the_time_of_any_length_is_on_the_line_through_both(
    first: float, token: float, measured: int, wanted: int
) -> None:
    timing = Timing(first, first + token * (measured - 1), measured)
    assert timing.seconds(wanted) == pytest.approx(first + token * (wanted - 1), rel=1e-6, abs=1e-9)
    assert timing.seconds(measured) == pytest.approx(timing.whole)


def test_a_clock_that_jitters_makes_no_negative_time() -> None:
    assert Timing(0.5, 0.4, 8).per_token == 0
    assert Timing(0.5, 0.5, 1).per_token is None


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param({}, {"pool": "", "gpus": 0, "first_token_seconds": None}, id="an older one"),
        pytest.param({"novelty": [1], "pool": "a"}, {"pool": "a"}, id="a newer one"),
        pytest.param(
            {"latency_quartiles_seconds": [0.1, 0.2]}, {"latency_quartiles_seconds": (0.1, 0.2)}, id="quartiles"
        ),
        pytest.param({"latency_quartiles_seconds": None}, {"latency_quartiles_seconds": None}, id="no quartiles"),
    ],
)  # fmt: skip
def test_figures_of_another_version_are_read(stored: dict[str, object], expected: dict[str, object]) -> None:
    found = read_stored(ServingFigures, {**REQUIRED, **stored})
    assert {name: getattr(found, name) for name in (*REQUIRED, *expected)} == {**REQUIRED, **expected}


def test_figures_survive_json() -> None:
    figures = measured(ClockedEngine(first=lambda prompt: 0.5, token=0.1, length=lambda prompt: 6), [[1]] * 3)
    assert read_stored(ServingFigures, figures.to_values()) == figures


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8)],
)
def test_cores_are_those_that_a_pods_limit_leaves(
    limit: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(hardware, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    assert hardware.describe_processor().endswith(f", {cores} cores")
    monkeypatch.setattr(hardware, "_CPU_QUOTA", tmp_path / "none")
    assert hardware.describe_processor().endswith(", 8 cores")


@pytest.mark.parametrize(
    ("is_cpu", "gpus", "expected"),
    [(False, 1, "1 x NVIDIA H200"), (False, 8, "8 x NVIDIA H200"), (True, 2, hardware.describe_processor())],
)
def test_the_actor_tells_what_its_engine_runs_on(
    is_cpu: bool, gpus: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = SimpleNamespace(is_cpu=lambda: is_cpu, get_device_name=lambda: "NVIDIA H200")
    monkeypatch.setitem(__import__("sys").modules, "vllm", SimpleNamespace())
    monkeypatch.setitem(__import__("sys").modules, "vllm.platforms", SimpleNamespace(current_platform=platform))
    assert VllmActor.hardware(None, gpus) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("address", "driver"), [("ray://head", False), (None, True)])
def test_where_the_engine_may_be_elsewhere_its_actor_is_asked(
    address: str | None, driver: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cluster's workers and this machine's GPUs are known to the actor alone."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(session, "has_accelerators", lambda: driver)
    monkeypatch.setattr("ray.get", lambda answer: answer)
    engines = LocalEngines(leftovers=tmp_path / "none", ahead=False)
    actor = SimpleNamespace(hardware=SimpleNamespace(remote=lambda gpus: f"{gpus} x told by the actor"))
    monkeypatch.setattr(engines, "actor", lambda **_wanted: actor)
    assert engines.hardware(gpus=4) == "4 x told by the actor"
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(session, "has_accelerators", lambda: False)
    assert engines.hardware(gpus=4) == hardware.describe_processor()
