"""Refusals: what an engine that can't serve a model says; which class it is, where, and why."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from kubedistill.errors import InvalidInput, InvalidModel, ModelDoesNotFit
from kubedistill_runtime.chat import load_stop_ids
from kubedistill_runtime.models import Model, find_model
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.serving.refusals import refusal
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.storage.store import Store
from workshop import QUICKSTART

AT = "spec.teachers[0].model.source"
SERVING = Serving(Model("hf://a/b", Path("b"), "digest", 1000, {}), max_model_len=128, at=AT)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("Unsupported CPU attention configuration: head_dim=20"), InvalidModel),
        (ValueError("Model architectures ['Foo'] are not supported for now"), InvalidModel),
        (ValueError("torch.float32 is not supported for quantization method fp8"), InvalidModel),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), ModelDoesNotFit),
        (MemoryError(), ModelDoesNotFit),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), ModelDoesNotFit),
        (ValueError("No available memory for the cache blocks. Try increasing it"), ModelDoesNotFit),
        (ValueError("Free memory on device cuda:0 (3/79 GiB) on startup is less than desired"), ModelDoesNotFit),
        (ValueError("(2 GiB KV cache is needed, more than the available KV cache memory)"), ModelDoesNotFit),
    ],
    ids=lambda one: str(one)[:24] if isinstance(one, Exception) else one.__name__,
)  # fmt: skip
def test_memory_that_ran_out_is_told_from_what_is_not_supported(error: Exception, kind: type[InvalidInput]) -> None:
    found = refusal(error, serving=SERVING)
    assert type(found) is kind
    assert found.at == AT
    assert "hf://a/b" in found.problem
    assert str(error) in found.problem
    assert found.fix


def change_head_dim(folder: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=1024, hidden_size=60, intermediate_size=64, num_hidden_layers=1, num_attention_heads=3,
        num_key_value_heads=1, head_dim=20, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def change_architecture(folder: Path) -> None:
    change_config(folder, architectures=["NoSuchForCausalLM"])


def change_quantization(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "awq"})


@pytest.mark.engine
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(change_head_dim, "Unsupported CPU attention configuration: head_dim=20", id="head size"),
        pytest.param(change_architecture, "architectures ['NoSuchForCausalLM'] are not supported", id="architecture"),
        pytest.param(change_quantization, "Cannot find any of ['w_bit', 'bits']", id="quantization"),
    ],
)  # fmt: skip
def test_a_real_engine_says_why_it_refuses(change: Any, reason: str, engines: LocalEngines, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(QUICKSTART / "student", folder)
    change(folder)
    with engines.open(serving_of(folder, tmp_path)) as engine, pytest.raises(InvalidModel) as caught:
        engine.generate([[1, 2, 3]], sampling=Sampling(max_tokens=1), seeds=[0])
    assert caught.value.at == AT
    assert reason in caught.value.problem
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)
    if change is change_head_dim:  # that engine was there already when it refused
        with engines.open(serving_of(QUICKSTART / "student", tmp_path)) as engine:
            assert engine.generate([[1, 2, 3]], sampling=Sampling(max_tokens=1), seeds=[0])[0].ids


def serving_of(folder: Path, store: Path) -> Serving:
    model = find_model(str(folder), revision=None, trust_remote_code=False, data_root=folder, store=Store(store), at=AT)
    return Serving(model, max_model_len=128, stop_ids=load_stop_ids(model), at=AT)
