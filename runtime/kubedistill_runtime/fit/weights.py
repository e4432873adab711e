"""Weights: the parameters of a checkpoint and the bytes that they need, from the headers of its files.

Tensors that no engine loads are left out: layers that only predict further tokens, and the copy of a tied head.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kubedistill.json_values import Json, as_object
from kubedistill_runtime.fit.sizes import text_config
from kubedistill_runtime.safetensors_headers import Tensor

DTYPE_BYTES = {"Float32": 4, "BFloat16": 2, "Float16": 2}
_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F4": 0.5,
    "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
# Scales, zero points and tables of AWQ, GPTQ, FP8, MXFP4, compressed-tensors and bitsandbytes.
_AUXILIARY = re.compile(
    r"\.(qzeros|scales|g_idx|SCB|absmax|quant_map|nested_absmax|nested_quant_map|weight_shape|weight_g_idx)$"
    r"|\.quant_state\.|_scale$|_scales$|_scale_inv$|_scale_2$|_global_scale$|_zero_point$|\.inv_freq$"
)
_PACKED = re.compile(r"\.(qweight|weight_packed)$")
"""Integers that hold several parameters each, of AWQ, GPTQ and compressed-tensors."""
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_EXTRA = re.compile(r"(?:^|\.)mtp\.")
_HEAD = "lm_head.weight"
_DEFAULT_BITS = 4


@dataclass(frozen=True, slots=True)
class Packed:
    """The parameters that are stored in a quantized form, and the bytes of that form with its scales."""

    parameters: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Weights:
    """All parameters of a checkpoint, and the packed ones among them."""

    parameters: int
    packed: Packed = Packed()

    def size(self, dtype: str) -> int:
        """Return the bytes in an engine; packed parameters keep their form, all others have this dtype."""
        return self.packed.bytes + (self.parameters - self.packed.parameters) * DTYPE_BYTES[dtype]


def count_weights(tensors: Mapping[str, Tensor], config: Mapping[str, Json]) -> Weights:
    """Count the weights that an engine loads; `config` is the configuration of the whole model.

    Raises KeyError for a dtype that safetensors does not have.
    """
    config = {**config, **text_config(config)}  # a quantization stands outside
    parameters, packed_parameters, packed_bytes = 0, 0, 0
    for name, tensor in tensors.items():
        if _is_unused(name, config):
            continue
        if _AUXILIARY.search(name):
            packed_bytes += _stored_bytes(tensor)
            continue
        count = tensor.elements * _parameters_per_element(name, tensor, config)
        parameters += count
        if tensor.dtype not in _FLOATS:
            packed_parameters += count
            packed_bytes += _stored_bytes(tensor)
    return Weights(parameters, Packed(packed_parameters, packed_bytes))


def _is_unused(name: str, config: Mapping[str, Json]) -> bool:
    """Return whether an engine does not load a tensor of the checkpoint."""
    if name == _HEAD:
        return bool(config.get("tie_word_embeddings"))
    if _EXTRA.search(name):
        return True
    layers, found = config.get("num_hidden_layers"), _LAYER.search(name)
    extra = config.get("num_nextn_predict_layers")
    return bool(extra) and found is not None and isinstance(layers, int) and int(found[1]) >= layers


def _parameters_per_element(name: str, tensor: Tensor, config: Mapping[str, Json]) -> int:
    """Return the number of parameters that one element holds."""
    if _PACKED.search(name):
        return int(_BYTES[tensor.dtype] * 8) // _bits(config)
    # Two 4-bit parameters per byte: MXFP4, NVFP4 and bitsandbytes.
    return 2 if tensor.dtype == "U8" else 1


def _bits(config: Mapping[str, Json]) -> int:
    """Return the bits per parameter in a quantization's configuration."""
    quantization = as_object(config.get("quantization_config"))
    groups = (as_object(as_object(one).get("weights")) for one in as_object(quantization.get("config_groups")).values())
    places = (quantization.get("bits"), quantization.get("w_bit"), *(group.get("num_bits") for group in groups))
    return next((bits for bits in places if isinstance(bits, int) and bits > 0), _DEFAULT_BITS)


def _stored_bytes(tensor: Tensor) -> int:
    return math.ceil(tensor.elements * _BYTES[tensor.dtype])
