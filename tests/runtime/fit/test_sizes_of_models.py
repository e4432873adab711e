"""Sizes of models that people name, against what their authors published."""

import pytest

from kubedistill_runtime.fit.cache import cache_bytes
from kubedistill_runtime.fit.sizes import text_config
from kubedistill_runtime.fit.weights import Packed, Weights, count_weights
from kubedistill_runtime.safetensors_headers import Tensor
from support.large_models import LARGE, tensors_of

GIB = 2**30


def weights_of(name: str) -> Weights:
    return count_weights(tensors_of(LARGE[name]), LARGE[name].config)


@pytest.mark.parametrize("name", LARGE)
def test_parameters_are_those_of_the_model_card(name: str) -> None:
    assert weights_of(name).parameters == pytest.approx(LARGE[name].parameters, rel=0.005)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Llama 3.1 8B", 16_060_522_496),  # total_size of model.safetensors.index.json
        ("Llama 3.1 70B", 141_107_412_992),
        ("Llama 3.1 405B", 811_706_777_600),
        ("Llama 3.2 3B", 6_425_499_648),
        ("Qwen3 8B", 16_381_470_720),
        ("Qwen3 30B-A3B", 61_064_245_248),
        ("Phi-3.5-mini", 7_642_159_104),
        ("Phi-4-mini", 7_672_043_520),
        ("Mistral Small 24B", 47_144_806_400),
        ("Gemma 3 4B", 8_600_158_944),
        ("Llama 3.1 8B, AWQ", 5.73e9),
        ("DeepSeek-V3", 673e9),  # 688.6e9 bytes of files without the layer that predicts a further token
    ],
)
def test_weights_on_gpus_are_as_large_as_the_published_files(name: str, size: float) -> None:
    assert weights_of(name).size("BFloat16") == pytest.approx(size, rel=0.03)


@pytest.mark.parametrize("name", [name for name, model in LARGE.items() if model.cache_per_token])
def test_a_token_takes_the_published_bytes_of_the_cache(name: str) -> None:
    model = LARGE[name]
    found = cache_bytes(text_config(model.config), tokens=1000, element_bytes=2)
    assert found == 1000 * (model.cache_per_token or 0)


def test_a_sliding_layer_keeps_its_window() -> None:
    config, per_layer = text_config(LARGE["Gemma 3 4B"].config), 2 * 4 * 256 * 2
    full, sliding = 34 // 6, 34 - 34 // 6
    for tokens, windows in ((500, 500), (8192, 1024)):
        expected = per_layer * (full * tokens + sliding * windows)
        assert cache_bytes(config, tokens=tokens, element_bytes=2) == expected


def test_a_sliding_layer_keeps_the_tokens_that_are_computed_too() -> None:
    """vLLM's SlidingWindowSpec reserves the window and all tokens in flight, up to the length of a request."""
    config = {"num_hidden_layers": 1, "num_attention_heads": 1, "head_dim": 1, "sliding_window": 128}
    for tokens, kept in ((131_072, 128 + 32_768), (4096, 4096)):
        assert cache_bytes(config, tokens=tokens, element_bytes=1, in_flight=32_768) == 2 * kept


@pytest.mark.parametrize(
    ("changes", "windows"),
    [
        pytest.param({"sliding_window": 4096}, [4096] * 4, id="Mistral 7B: all layers"),
        pytest.param({"sliding_window": 4096, "use_sliding_window": False}, [8192] * 4, id="Qwen2: off"),
        pytest.param({"sliding_window": 4096, "model_type": "gemma2"}, [4096, 8192] * 2, id="Gemma 2: every other"),
        pytest.param(
            {"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 2}, [128, 8192] * 2,
            id="gpt-oss: as its layers are listed",
        ),
        pytest.param(
            {"layer_types": ["linear_attention"] * 3 + ["full_attention"]}, [8192],
            id="layers by name: a layer without attention keeps no token",
        ),
        pytest.param({"full_attention_interval": 2}, [8192] * 2, id="Qwen3-Next: every second layer has attention"),
        pytest.param({"hybrid_override_pattern": "M-M*-M*-"}, [8192] * 2, id="Nemotron-H: stars have attention"),
        pytest.param({"attn_layer_period": 2, "attn_layer_offset": 1}, [8192] * 2, id="Jamba"),
        pytest.param({"attn_layer_indices": [1]}, [8192], id="Bamba"),
        pytest.param({"layers_block_type": ["mamba", "hybrid", "mamba", "mamba"]}, [8192], id="Zamba 2"),
        pytest.param({"layer_types": ["mamba"] * 3 + ["attention"]}, [8192], id="Granite 4"),
        pytest.param(
            {"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"] * 2,
             "num_kv_shared_layers": 2},
            [512, 8192], id="Gemma 3n: the last layers read the cache of others",
        ),
    ],
)  # fmt: skip
def test_windows_are_those_of_each_kind_of_model(changes: dict[str, object], windows: list[int]) -> None:
    config = {"num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    assert cache_bytes({**config, **changes}, tokens=8192, element_bytes=1) == 2 * 2 * 16 * sum(windows)  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        pytest.param({"num_attention_heads": 71, "hidden_size": 4544, "multi_query": True}, 4 * 64, id="Falcon 7B"),
        pytest.param(
            {"num_attention_heads": 128, "hidden_size": 8192, "num_kv_heads": 8, "multi_query": True,
             "new_decoder_architecture": True},
            4 * 8 * 64, id="Falcon 40B",
        ),
        pytest.param(
            {"num_attention_heads": 32, "kv_channels": 128, "multi_query_group_num": 2, "hidden_size": 4096},
            4 * 2 * 128, id="ChatGLM",
        ),
        pytest.param({"n_heads": 48, "d_model": 6144, "attn_config": {"kv_n_heads": 8}}, 4 * 8 * 128, id="DBRX"),
        pytest.param(
            {
                "num_attention_heads": 64, "num_key_value_heads": None, "hidden_size": 8192,
                "block_configs": [{"attention": {"n_heads_in_group": size}} for size in (8, 8, None, 16)],
            },
            (8 + 8 + 4) * 128, id="Llama Nemotron: each layer by itself",
        ),
        pytest.param(
            {
                "model_type": "gemma4_text", "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 256,
                "layer_types": ["full_attention"] * 4, "global_head_dim": 512, "num_global_key_value_heads": 4,
                "attention_k_eq_v": True,
            },
            4 * 4 * 512, id="Gemma 4: heads of full attention have sizes of their own",
        ),
    ],
)  # fmt: skip
def test_heads_are_those_that_vllm_reads(changes: dict[str, object], numbers: int) -> None:
    assert cache_bytes({"num_hidden_layers": 4, **changes}, tokens=10, element_bytes=1) == 10 * 2 * numbers  # type: ignore[dict-item]


def test_tensor_parallelism_divides_heads_and_not_a_compressed_vector() -> None:
    grouped, compressed = (LARGE[name].config for name in ("Llama 3.1 8B", "DeepSeek-V3"))
    whole = cache_bytes(grouped, tokens=10, element_bytes=2)
    assert cache_bytes(grouped, tokens=10, element_bytes=2, tensor_parallel=4) == whole // 4
    assert cache_bytes(grouped, tokens=10, element_bytes=2, tensor_parallel=32) == whole // 8, "each has one head"
    assert cache_bytes(compressed, tokens=10, element_bytes=2, tensor_parallel=8) == 10 * 70_272


@pytest.mark.parametrize(
    ("tensors", "config", "weights"),
    [
        pytest.param(
            {"lm_head.weight": ("BF16", 8, 4), "model.embed_tokens.weight": ("BF16", 8, 4)},
            {"tie_word_embeddings": True}, Weights(32), id="a stored copy of a tied head",
        ),
        pytest.param(
            {"lm_head.weight": ("BF16", 8, 4), "model.embed_tokens.weight": ("BF16", 8, 4)}, {}, Weights(64),
            id="a head of its own",
        ),
        pytest.param(
            {
                "l.qweight": ("I32", 16, 2), "l.qzeros": ("I32", 1, 2), "l.scales": ("F16", 1, 16),
                "l.g_idx": ("I32", 16),
            },
            {"quantization_config": {"bits": 4}}, Weights(256, Packed(256, 128 + 8 + 32 + 64)), id="GPTQ of 4 bits",
        ),
        pytest.param(
            {"l.qweight": ("I32", 16, 4)}, {"quantization_config": {"bits": 8}}, Weights(256, Packed(256, 256)),
            id="GPTQ of 8 bits",
        ),
        pytest.param(
            {"l.weight_packed": ("I32", 16, 2), "l.weight_scale": ("BF16", 16, 1), "l.weight_shape": ("I64", 2)},
            {"quantization_config": {"config_groups": {"group_0": {"weights": {"num_bits": 4}}}}},
            Weights(256, Packed(256, 128 + 32 + 16)), id="compressed-tensors",
        ),
        pytest.param(
            {"e.gate_up_proj_blocks": ("U8", 2, 8, 16), "e.gate_up_proj_scales": ("U8", 2, 8), "e.bias": ("BF16", 4)},
            {"quantization_config": {"quant_method": "mxfp4"}}, Weights(516, Packed(512, 256 + 16)), id="MXFP4",
        ),
        pytest.param(
            {
                "l.weight": ("U8", 128, 1), "l.weight.absmax": ("U8", 4), "l.weight.quant_map": ("F32", 16),
                "l.weight.quant_state.bitsandbytes__nf4": ("U8", 90),
            },
            {"quantization_config": {"load_in_4bit": True}}, Weights(256, Packed(256, 128 + 4 + 64 + 90)),
            id="bitsandbytes of 4 bits",
        ),
        pytest.param(
            {"l.weight": ("F8_E4M3", 16, 16), "l.weight_scale": ("F32", 16), "l.input_scale": ("F32",)},
            {}, Weights(256, Packed(256, 256 + 64 + 4)), id="FP8 per channel",
        ),
        pytest.param(
            {"model.layers.0.a": ("BF16", 4), "model.layers.1.a": ("BF16", 4), "mtp.layers.0.a": ("BF16", 4)},
            {"num_hidden_layers": 1, "num_nextn_predict_layers": 1}, Weights(4), id="layers for further tokens",
        ),
        pytest.param(
            {"model.layers.0.a": ("BF16", 4), "vision.layers.9.a": ("BF16", 4)}, {"num_hidden_layers": 1}, Weights(8),
            id="layers of a vision tower",
        ),
    ],
)  # fmt: skip
def test_what_an_engine_loads_counts(
    tensors: dict[str, tuple[str, *tuple[int, ...]]], config: dict[str, object], weights: Weights
) -> None:
    found = {name: Tensor(dtype, shape) for name, (dtype, *shape) in tensors.items()}
    assert count_weights(found, config) == weights  # type: ignore[arg-type]


def test_packed_weights_keep_their_size_in_every_dtype() -> None:
    weights = Weights(100, Packed(60, 30))
    assert {dtype: weights.size(dtype) for dtype in ("Float32", "BFloat16", "Float16")} == {
        "Float32": 30 + 160, "BFloat16": 30 + 80, "Float16": 30 + 80,
    }  # fmt: skip
