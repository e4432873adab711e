"""The memory of training, against tensors that PyTorch keeps for the backward pass."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen2Config

from kubedistill_runtime.fit.training import activation_bytes

TOKENS = 200
SIZES = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "vocab_size": 512}


def kept_bytes(config: PretrainedConfig, *, half: bool) -> int:
    """Return the bytes that the layers keep for the backward pass, without copies of their weights."""
    model = AutoModelForCausalLM.from_config(config)
    weights = {tuple(parameter.T.shape) for parameter in model.parameters() if parameter.dim() == 2}
    ours = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours and tuple(tensor.shape) not in weights | {one[::-1] for one in weights}:
            kept[storage.data_ptr()] = tensor
        return tensor

    ids = torch.zeros((1, TOKENS), dtype=torch.long)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=half),
    ):
        model.model(ids)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SIZES, intermediate_size=896, num_key_value_heads=2),
        LlamaConfig(**SIZES, intermediate_size=640, num_key_value_heads=8),
        LlamaConfig(**SIZES, intermediate_size=896, num_key_value_heads=4, head_dim=64),
        Qwen2Config(**SIZES, intermediate_size=1024, num_key_value_heads=2),
    ],
    ids=["Llama", "Llama, all heads", "heads that are wider together than the hidden states", "Qwen2"],
)
def test_activations_are_what_pytorch_keeps(config: PretrainedConfig, half: bool) -> None:
    values = {**config.to_dict(), "vocab_size": 0}  # the head has tiles of its own
    found = activation_bytes(values, tokens=TOKENS, half=half)
    assert found == pytest.approx(kept_bytes(config, half=half), rel=0.1)
