"""How fast devices are, and how that follows from the sizes of a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.contract import Hardware
from kubedistill_runtime.estimate.accelerators import CPU_CORE, find_accelerator
from kubedistill_runtime.estimate.speed import Engine, active_parameters, generation_seconds, training_seconds
from kubedistill_runtime.fit.serving import Precision
from kubedistill_runtime.models import Model
from support.large_models import model_of

SMALL = model_of("Llama 3.2 3B")
H100 = Hardware(accelerator="NVIDIA H100", gpus_per_pod=1)


@pytest.mark.parametrize(
    ("name", "bandwidth"),
    [
        ("NVIDIA-H100-80GB-HBM3", 3350e9),
        ("NVIDIA H100 PCIe", 2000e9),
        ("NVIDIA H200", 4800e9),
        ("NVIDIA-A100-SXM4-80GB", 2039e9),
        ("NVIDIA A100-SXM4-40GB", 1555e9),
        ("nvidia-l4", 300e9),
        ("NVIDIA L40S", 864e9),
        ("NVIDIA B200", 8000e9),
    ],
)
def test_gpus_are_known_by_the_words_of_their_names(name: str, bandwidth: float) -> None:
    found = find_accelerator(Hardware(accelerator=name, gpus_per_pod=1))
    assert found is not None
    assert found.bandwidth == bandwidth


@pytest.mark.parametrize("name", ["big", "NVIDIA H20", "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", "gpu-h1000"])
def test_other_gpus_and_parts_of_gpus_are_not_known(name: str) -> None:
    assert find_accelerator(Hardware(accelerator=name, gpus_per_pod=1)) is None


def test_without_gpus_it_is_a_core() -> None:
    assert find_accelerator(Hardware()) == CPU_CORE


@pytest.mark.parametrize(
    ("name", "active"),
    [
        ("DeepSeek-V3", 37e9),  # arxiv.org/abs/2412.19437
        ("Qwen3 30B-A3B", 3.3e9),  # its model card
        ("Llama 3.1 8B", 8.03e9),
    ],
)
def test_active_parameters_are_those_of_the_model_card(name: str, active: float) -> None:
    model = model_of(name)
    assert active_parameters(model.config, model.parameters) == pytest.approx(active, rel=0.05)


def engine(model: Model, *, devices: int = 1) -> Engine:
    accelerator = find_accelerator(H100)
    assert accelerator is not None
    return Engine(model, Precision("BFloat16"), devices, accelerator)


def test_one_request_is_bound_by_the_bandwidth() -> None:
    """A token reads all weights once: 16 GB at 60 % of 3.35 TB/s are 8 ms."""
    seconds = generation_seconds(engine(model_of("Llama 3.1 8B")), answers=1, prompt_tokens=1, answer_tokens=1000)
    assert seconds / 1000 == pytest.approx(16.06e9 / (0.6 * 3.35e12) + 0.004, rel=0.02)


def test_a_full_batch_answers_more_and_long_prompts_take_operations() -> None:
    llama = engine(model_of("Llama 3.1 8B"))
    alone = generation_seconds(llama, answers=1, prompt_tokens=100, answer_tokens=100)
    full = generation_seconds(llama, answers=256, prompt_tokens=100, answer_tokens=100)
    assert alone < full < 10 * alone
    longer = generation_seconds(llama, answers=256, prompt_tokens=4100, answer_tokens=100)
    assert longer - full > 0.9 * 2 * 8.03e9 * 4000 * 256 / (0.5 * 989e12)


@given(answers=st.integers(0, 10**6), copies=st.integers(1, 16), tokens=st.integers(1, 4096))
def test_more_copies_never_take_longer_and_more_answers_never_less(answers: int, copies: int, tokens: int) -> None:
    llama = engine(SMALL)
    one = generation_seconds(llama, answers=answers, prompt_tokens=100, answer_tokens=tokens)
    assert generation_seconds(llama, answers=answers, prompt_tokens=100, answer_tokens=tokens, copies=copies) <= one
    assert generation_seconds(llama, answers=answers + 1000, prompt_tokens=100, answer_tokens=tokens) >= one


def test_training_is_six_operations_per_parameter_and_token() -> None:
    accelerator = find_accelerator(H100)
    assert accelerator is not None
    seconds = training_seconds(SMALL, tokens=1e9, workers=8, accelerator=accelerator)
    assert seconds == pytest.approx(6 * SMALL.parameters * 1e9 / (8 * 0.35 * 989e12))
