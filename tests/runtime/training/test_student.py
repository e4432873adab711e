"""The student: its tiled loss equals the dense loss on the logits of the architecture's own forward."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from kubedistill.errors import InvalidModel
from kubedistill_runtime.models import Model
from kubedistill_runtime.training.batches import make_batch
from kubedistill_runtime.training.objectives import OBJECTIVES
from kubedistill_runtime.training.student import (
    Student,
    check_head,
    load_language_model,
    read_head,
    save_language_model,
)
from support import dense_losses as dense
from support import tiny_training as tiny
from support.messages import CheckMessage

CPU = torch.device("cpu")
UNTIED, TIED = {"tie_word_embeddings": False}, {"tie_word_embeddings": True}
# Values that tell: a head that forgets one of them is far off.
ARCHITECTURES = {
    "llama, untied": ("llama", UNTIED),
    "llama, tied": ("llama", TIED),
    "qwen2, tied": ("qwen2", TIED),
    "phi with a bias": ("phi", {}),
    "cohere with its scale": ("cohere", {"logit_scale": 0.0625}),
    "granite with its divisor": ("granite", {"logits_scaling": 6.0}),
    "gemma with its cap": ("gemma2", {"final_logit_softcapping": 2.0}),
}


def build(name: str, **fields: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **{**tiny.SIZES, "head_dim": 8, **fields})
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_loss_and_every_gradient_equal_the_dense_form_on_the_models_own_logits(kind: str, objective: str) -> None:
    name, fields = ARCHITECTURES[kind]
    language_model = build(name, **fields).double()
    samples = tiny.make_samples([(3, 4), (1, 9), (6, 1)]) + tiny.make_samples([(2, 3)], seed=1, known=False)
    batch = make_batch(samples, device=CPU)
    student = Student(language_model, objective=OBJECTIVES[objective], ce_weight=0.3)

    loss = student(batch)
    loss.backward()
    mine = {name: value.grad.clone() for name, value in student.named_parameters()}
    student.zero_grad()
    logits_BLV = language_model(input_ids=batch.ids_BL, attention_mask=batch.attention_BL).logits
    expected = dense.sum_of_losses(
        batch, logits_BLV.reshape(-1, tiny.VOCABULARY)[batch.positions_N], objective=objective, ce_weight=0.3
    )
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    for name, value in student.named_parameters():
        torch.testing.assert_close(
            mine[name], value.grad, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        *ARCHITECTURES.values(), ("mistral", {}), ("qwen3", {}), ("phi3", {}), ("gemma", {}),
        ("gemma3_text", {"final_logit_softcapping": 2.0}), ("cohere2", {"logit_scale": 0.25}), ("olmo2", {}),
        ("smollm3", {}), ("gpt_neox", {}), ("gpt2", {"n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 64}),
    ],
)  # fmt: skip
def test_head_gives_the_logits_of_the_architecture(name: str, fields: dict[str, Any]) -> None:
    check_head(build(name, **fields))


def test_checkpoint_whose_head_does_more_is_refused(tmp_path: Path, check_message: CheckMessage) -> None:
    """HyperCLOVA X multiplies by the number that Granite divides by; the loss would silently be wrong."""
    save_language_model(build("hyperclovax", logits_scaling=6.0), tmp_path, dtype=None)
    with pytest.raises(InvalidModel) as refused:
        load_language_model(Model("s", tmp_path, "d", 0, {}))
    check_message(refused.value, "spec.student.model.source", "HyperCLOVAXForCausalLM")


def test_padding_and_neighbours_do_not_change_a_sample() -> None:
    student = tiny.make_student(dtype=torch.float64)
    samples = tiny.make_samples([(3, 4), (1, 12), (6, 1)])
    together = student(make_batch(samples, device=CPU))
    alone = sum(student(make_batch([sample], device=CPU)) for sample in samples)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saved_checkpoint_loads_with_the_same_weights(dtype: str, tmp_path: Path) -> None:
    language_model = build("llama", **TIED)
    save_language_model(language_model, tmp_path, dtype=dtype)
    loaded = load_language_model(Model("s", tmp_path, "d", 0, {}))
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    for name, value in language_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.to(getattr(torch, dtype)).float()), name
    assert read_head(loaded).weight_VH is loaded.get_input_embeddings().weight, "tied weights stay tied"


def test_broken_checkpoint_is_an_invalid_model(tmp_path: Path, check_message: CheckMessage) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(InvalidModel) as refused:
        load_language_model(Model("s", tmp_path, "d", 0, {}))
    check_message(refused.value, "spec.student.model.source")


def test_a_checkpoint_that_lacks_a_weight_is_refused(tmp_path: Path, check_message: CheckMessage) -> None:
    """Transformers fills it with random numbers, and only logs that; a tied head is not stored and not missing."""
    save_language_model(build("llama", **TIED), tmp_path, dtype=None)
    weights, lost = load_file(tmp_path / "model.safetensors"), "model.layers.1.mlp.down_proj.weight"
    assert "lm_head.weight" not in weights
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InvalidModel) as refused:
        load_language_model(Model("s", tmp_path, "d", 0, {}))
    check_message(refused.value, "spec.student.model.source", lost)
