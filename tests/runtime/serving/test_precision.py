"""Precision: what an engine serves a model in when the manifest leaves it open."""

from typing import Any

import pytest

from kubedistill.contract import Hardware
from kubedistill_runtime.serving.precision import serving_dtype

GPU = Hardware(accelerator="NVIDIA H200", gpus_per_pod=8)


@pytest.mark.parametrize(
    ("config", "on_gpus"),
    [
        pytest.param({"torch_dtype": "bfloat16"}, "BFloat16", id="as transformers 4 writes it"),
        pytest.param({"dtype": "bfloat16"}, "BFloat16", id="as transformers 5 writes it"),
        pytest.param({"torch_dtype": "float16"}, "Float16", id="half precision"),
        pytest.param({"dtype": "torch.float16"}, "Float16", id="torch's own name"),
        pytest.param({"torch_dtype": "float32"}, "BFloat16", id="no fast kernel takes Float32"),
        pytest.param({}, "BFloat16", id="unknown"),
        pytest.param({"text_config": {"torch_dtype": "float16"}}, "Float16", id="of the nested language model"),
        pytest.param(
            {"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "fp8"}},
            "BFloat16",
            id="the activations of DeepSeek-V3, which stays FP8",
        ),
    ],
)
def test_auto_is_the_checkpoints_own_on_gpus_and_float32_on_cpus(config: dict[str, Any], on_gpus: str) -> None:
    assert serving_dtype("Auto", config=config, hardware=GPU) == on_gpus
    assert serving_dtype("Auto", config=config, hardware=Hardware()) == "Float32"


@pytest.mark.parametrize("hardware", [GPU, Hardware()])
def test_a_dtype_in_the_manifest_is_taken(hardware: Hardware) -> None:
    assert serving_dtype("Float16", config={"torch_dtype": "bfloat16"}, hardware=hardware) == "Float16"
