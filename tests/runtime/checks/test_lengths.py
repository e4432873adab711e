"""Lengths: what a model was not made for is refused before an engine is started, and what is absent fits."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubedistill.contract import Hardware
from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.checks.lengths import check_student_length, check_teacher_length
from kubedistill_runtime.models import Model, original_positions
from kubedistill_runtime.teachers.served import ServedTeacher
from support.job_folder import JobFolder
from support.messages import check_facts

DAY = datetime.date(2026, 11, 28)
LENGTHS = {
    "teacher": ("teachers.0.model.maxModelLen", "spec.teachers[0].model.maxModelLen"),
    "student": ("training.maxLength", "spec.training.maxLength"),
}


def model(name: str, config: dict[str, Any]) -> Model:
    return Model(name, Path(name), "digest", 0, config)


# What a configuration says, the longest sequence that vLLM would take, and the length up to which LongRoPE is short.
CONFIGS: dict[str, tuple[dict[str, Any], int | None, int | None]] = {
    "plain": ({"model_type": "llama", "max_position_embeddings": 512}, 512, None),
    "nothing said": ({"model_type": "bloom"}, None, None),
    "no scaling": ({"model_type": "llama", "max_position_embeddings": 512, "rope_scaling": None}, 512, None),
    "GPT-2": ({"model_type": "gpt2", "n_positions": 1024}, 1024, None),
    "MPT": ({"model_type": "mpt", "max_seq_len": 2048}, 2048, None),
    "Command-R": (
        {"model_type": "cohere", "max_position_embeddings": 8192, "model_max_length": 131072}, 131072, None,
    ),
    "linear": (
        {"model_type": "llama", "max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 2.5}},
        10240, None,
    ),
    "dynamic": (
        {
            "model_type": "llama", "max_position_embeddings": 2048,
            "rope_scaling": {"rope_type": "dynamic", "factor": 4.0},
        },
        8192, None,
    ),
    "linear, of transformers 5": (
        {
            "model_type": "llama", "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
        },
        8192, None,
    ),
    "default, of transformers 5": (
        {
            "model_type": "llama", "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
        512, None,
    ),
    "Llama 3.1": (
        {
            "model_type": "llama", "max_position_embeddings": 131072, "rope_theta": 500000.0,
            "rope_scaling": {
                "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192, "rope_type": "llama3",
            },
        },
        131072, None,
    ),
    "Qwen 2.5 with YaRN": (
        {
            "model_type": "qwen2", "max_position_embeddings": 32768, "rope_theta": 1000000.0,
            "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
        },
        32768, None,
    ),
    "Phi-4-mini": (
        {
            "model_type": "phi3", "max_position_embeddings": 131072, "original_max_position_embeddings": 4096,
            "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2, "partial_rotary_factor": 0.75,
            "rope_scaling": {"long_factor": [1.0] * 12, "short_factor": [1.0] * 12, "type": "longrope"},
        },
        131072, 4096,
    ),
    "Phi-3 of the first days": (
        {
            "model_type": "phi3", "max_position_embeddings": 131072, "hidden_size": 64, "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "rope_scaling": {
                "long_factor": [1.0] * 16, "short_factor": [1.0] * 16, "type": "su",
                "original_max_position_embeddings": 4096,
            },
        },
        131072, 4096,
    ),
    "LongRoPE, of transformers 5": (
        {
            "model_type": "phi3", "max_position_embeddings": 131072, "hidden_size": 64, "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "rope_parameters": {
                "long_factor": [1.0] * 16, "short_factor": [1.0] * 16, "rope_type": "longrope", "rope_theta": 10000.0,
                "original_max_position_embeddings": 8192,
            },
        },
        131072, 8192,
    ),
    "Qwen2-VL's mrope": (
        {
            "model_type": "qwen2", "max_position_embeddings": 32768,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        },
        32768, None,
    ),
    "Gemma 3, text": (
        {
            "model_type": "gemma3_text", "max_position_embeddings": 131072, "num_hidden_layers": 2,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        },
        131072, None,
    ),
    "Gemma 3, with a text_config": (
        {
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text", "max_position_embeddings": 32768, "num_hidden_layers": 2,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            },
        },
        32768, None,
    ),
    "LLaVA, linear in its text_config": (
        {
            "model_type": "llava", "vision_config": {"model_type": "clip_vision_model"},
            "text_config": {
                "model_type": "llama", "max_position_embeddings": 4096, "rope_theta": 10000.0,
                "rope_scaling": {"type": "linear", "factor": 2.0},
            },
        },
        8192, None,
    ),
    "by kind of layer": (
        {
            "model_type": "qwen3", "max_position_embeddings": 4096, "num_hidden_layers": 2,
            "layer_types": ["full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
                "sliding_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
            },
        },
        8192, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_what_a_model_was_made_for_is_read_from_its_configuration(name: str) -> None:
    config, longest, original = CONFIGS[name]
    assert (model(name, config).max_positions, original_positions(config)) == (longest, original)


@pytest.fixture(scope="module")
def accepts() -> Callable[[Path, int], bool]:
    """Return whether vLLM itself takes a model with a maxModelLen."""
    from vllm.config.model import _get_and_verify_max_len
    from vllm.transformers_utils.config import get_config
    from vllm.transformers_utils.model_arch_config_convertor import ModelArchConfigConvertorBase

    class Architecture:
        def __init__(self, config: Any) -> None:
            convertor = ModelArchConfigConvertorBase(config, config.get_text_config())
            self.derived_max_model_len_and_key = convertor.derive_max_model_len_and_key()

    def accept(folder: Path, length: int) -> bool:
        config = get_config(str(folder), trust_remote_code=False)
        try:
            _get_and_verify_max_len(config.get_text_config(), Architecture(config), None, length, False, None)
        except ValueError as error:
            assert "is greater than the derived max_model_len" in str(error)  # noqa: PT017
            return False
        return True

    return accept


@pytest.mark.parametrize("name", [name for name, (_, longest, _) in CONFIGS.items() if longest])
def test_it_is_what_vllm_takes_and_no_more(name: str, accepts: Callable[[Path, int], bool], tmp_path: Path) -> None:
    config, longest, _ = CONFIGS[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (accepts(tmp_path, longest), accepts(tmp_path, longest + 1)) == (True, False)


def check_lengths(models: dict[str, Model], *, spec: Spec) -> None:
    """Check both models of a job."""
    named = spec.teachers[0].model
    assert named is not None
    length = named.max_model_len or 1
    place, hardware = "spec.teachers[0]", Hardware()
    check_teacher_length(ServedTeacher(place, "main", named, models["teacher"], "Float32", length, DAY, hardware, 1))
    check_student_length(models["student"], spec=spec)


@pytest.mark.parametrize("who", LENGTHS)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_is_asked_for_no_more_than_its_positions(name: str, who: str, job_folder: JobFolder) -> None:
    config, longest, _ = CONFIGS[name]
    field, at = LENGTHS[who]
    models = {other: model(other, config if other == who else {}) for other in LENGTHS}
    job_folder.set(field, longest or 4096)
    check_lengths(models, spec=job_folder.stage_job().spec)
    if longest is None:
        return
    job_folder.set(field, longest + 1)
    with pytest.raises(InvalidManifest) as refused:
        check_lengths(models, spec=job_folder.stage_job().spec)
    assert refused.value.at == at
    check_facts(refused.value.problem, longest + 1, who, longest)
    check_facts(refused.value.fix, longest)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"max_position_embeddings": 512}, (512, 512)),
        ({"max_position_embeddings": 3000}, (3000, 2048)),
        ({"max_position_embeddings": 131072}, (4096, 2048)),
        ({"text_config": {"max_position_embeddings": 100}}, (100, 100)),
        ({"max_position_embeddings": 64, "rope_scaling": {"type": "linear", "factor": 2.0}}, (128, 128)),
        ({}, (4096, 2048)),
    ],
)
def test_what_no_field_names_is_never_refused(
    config: dict[str, Any], expected: tuple[int, int], job_folder: JobFolder
) -> None:
    job_folder.drop("teachers.0.model.maxModelLen")
    for name in LENGTHS:
        (job_folder.root / name / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    choices = job_folder.resolve()
    assert (choices.max_model_len, choices.max_length) == expected
    check_teacher_length(choices.teachers[0])
    check_student_length(choices.student, spec=job_folder.stage_job().spec)


def test_what_a_field_names_is_taken_as_it_is(job_folder: JobFolder) -> None:
    job_folder.set("teachers.0.model.maxModelLen", 48)
    job_folder.set("training.maxLength", 32)
    choices = job_folder.resolve()
    assert (choices.max_model_len, choices.max_length) == (48, 32)
