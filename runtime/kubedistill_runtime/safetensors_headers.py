"""Headers of safetensors files: https://huggingface.co/docs/safetensors (format)."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubedistill.errors import InvalidModel
from kubedistill.json_values import Json

ReadRange = Callable[[int, int], bytes]
"""Returns the bytes from a start to before a stop; fewer at the end of the file."""
_LENGTH_BYTES = 8
_LARGEST = 100_000_000
"""Largest header in bytes: the limit of the format."""
_FIRST_BYTES = 100_000
"""Bytes of the first read, which is the only one for most headers."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the header describes it."""

    dtype: str
    """As in safetensors: F32, BF16, F8_E4M3, …"""
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_header(read: ReadRange, *, size: int, where: str, at: str) -> dict[str, Tensor]:
    """Return the tensors of a file of `size` bytes by name; raises InvalidModel, naming the field, if it is not one.

    `where` names the file in errors.
    """
    try:
        first = read(0, min(size, _FIRST_BYTES))
        (length,) = struct.unpack("<Q", first[:_LENGTH_BYTES])
        end = _LENGTH_BYTES + min(length, _LARGEST)
        data = first if end <= len(first) else first + read(len(first), end)
        header = json.loads(data[_LENGTH_BYTES:end])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        tensors = {name: parse_tensor([entry["dtype"], *entry["shape"]]) for name, entry in entries.items()}
        expected = _LENGTH_BYTES + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except (AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
        raise InvalidModel(f"{where} is not a safetensors file", at=at, fix="Download or save it again") from error
    if size != expected:
        problem = f"{where} has {size} bytes, but its header says {expected}"
        raise InvalidModel(problem, at=at, fix="Download or save it again")
    return tensors


def parse_tensor(values: Json) -> Tensor:
    """Return a tensor from its type and the sizes of its dimensions; raises TypeError or ValueError."""
    if not isinstance(values, list):
        raise TypeError("a tensor is a list")
    dtype, *shape = values
    return Tensor(str(dtype), tuple(int(size) for size in shape if isinstance(size, int)))


def tensor_values(tensors: Mapping[str, Tensor]) -> dict[str, Json]:
    """Return tensors in the form that parse_tensor reads."""
    return {name: [tensor.dtype, *tensor.shape] for name, tensor in tensors.items()}
