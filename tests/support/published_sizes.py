"""Repositories of a local hub with models of real size: their configuration, a tokenizer, and headers of weights."""

import json
import struct
from collections.abc import Mapping

from kubedistill_runtime.safetensors_headers import Tensor
from support.config_models import CONFIGS
from support.job_folder import QUICKSTART
from support.large_models import LARGE, tensors_of
from support.local_hub import LocalHub

_BYTES = {"BF16": 2, "F8_E4M3": 1, "F32": 4}
_LLAMA_3B = {
    **CONFIGS["Llama-3.1-8B"], "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28,
    "num_attention_heads": 24, "tie_word_embeddings": True,
}  # fmt: skip
MODELS = {
    "deepseek-ai/DeepSeek-V3": (CONFIGS["DeepSeek-V3"], "DeepSeek-V3"),
    "microsoft/Phi-4-mini-instruct": (CONFIGS["Phi-4-mini"], "Phi-4-mini"),
    "meta-llama/Llama-3.1-405B-Instruct": (CONFIGS["Llama-3.1-405B"], "Llama 3.1 405B"),
    "meta-llama/Llama-3.2-3B-Instruct": (_LLAMA_3B, "Llama 3.2 3B"),
}
"""Configuration and name in LARGE of each repository; models of one organization share a tokenizer."""


class Weights(bytes):
    """A safetensors file of which only the header exists; its length is that of the whole file."""

    size: int

    def __len__(self) -> int:
        return self.size


def push_models(hub: LocalHub) -> None:
    """Push all models; their tokenizers have the ids of the quickstart's, and one of their organization's own."""
    files = {path.name: path.read_bytes() for path in (QUICKSTART / "student").iterdir()}
    for repository, (config, size) in MODELS.items():
        tokenizer = json.loads(files["tokenizer.json"])
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary[repository.partition("/")[0]] = len(vocabulary)
        hub.repository(repository).push(
            {
                **files,
                "config.json": json.dumps(config).encode(),
                "tokenizer.json": json.dumps(tokenizer).encode(),
                "model.safetensors": make_weights(tensors_of(LARGE[size])),
            }
        )


def make_weights(tensors: Mapping[str, Tensor]) -> Weights:
    """Return a file of weights with the header that tensors have."""
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + tensor.elements * _BYTES[tensor.dtype]
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    made = Weights(struct.pack("<Q", len(text)) + text)
    made.size = 8 + len(text) + offset
    return made
