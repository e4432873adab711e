"""Models as folders: where the weights are, what identifies them, and how large they are."""

import hashlib
import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedistill.canonical import canonical_json, digest
from kubedistill.errors import InvalidModel
from kubedistill_runtime.storage.store import Store

HUB_SCHEME = "hf://"
DTYPE_BYTES = {"Float32": 4, "BFloat16": 2, "Float16": 2}
_WEIGHTS = ("*.safetensors",)
_IDENTITY = ("*.json", "*.jinja", "*.model", "*.txt", "*.py", *_WEIGHTS)


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint on this machine."""

    source: str
    path: Path
    digest: str
    """The hub's commit, or the sha256 of the folder's files."""
    parameters: int
    config: dict[str, Any]
    trust_remote_code: bool = False

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the architecture was made for, in tokens."""
        return self.config.get("max_position_embeddings")

    def memory_bytes(self, *, dtype: str, tokens: int) -> int:
        """Weights plus the KV cache of one request of so many tokens, in bytes."""
        size = DTYPE_BYTES[dtype]
        heads = self.config.get("num_attention_heads", 0)
        head_dim = self.config.get("head_dim") or self.config.get("hidden_size", 0) // max(heads, 1)
        kv_heads = self.config.get("num_key_value_heads") or heads
        cache = 2 * self.config.get("num_hidden_layers", 0) * kv_heads * head_dim * tokens
        return int((self.parameters + cache) * size)


def find_model(
    source: str, *, revision: str | None, trust_remote_code: bool, data_root: Path, store: Store, at: str
) -> Model:
    """Find a model's folder, identify it and read its sizes.

    Raises InvalidModel, naming the field `at`, where there is no usable checkpoint.
    """
    if source.startswith(HUB_SCHEME):
        path = _download(source.removeprefix(HUB_SCHEME), revision=revision, at=at)
        identity = path.name
    else:
        path = (data_root / source.removeprefix("file://")).resolve()
        identity = ""
    config = _read_config(path, at=at)
    weights = sorted(file for pattern in _WEIGHTS for file in path.glob(pattern))
    if not weights:
        raise InvalidModel(f"{path} holds no *.safetensors", at=at, fix="Save the checkpoint as safetensors")
    return Model(
        source=source,
        path=path,
        digest=identity or folder_digest(path, store=store),
        parameters=sum(_count_parameters(file, at=at) for file in weights),
        config=config,
        trust_remote_code=trust_remote_code,
    )


def folder_digest(path: Path, *, store: Store) -> str:
    """The sha256 of a model folder's files by name."""
    files = sorted({file for pattern in _IDENTITY for file in path.glob(pattern)})
    return digest({file.name: file_digest(file, store=store) for file in files})


def file_digest(path: Path, *, store: Store) -> str:
    """The sha256 of a file, remembered in the store by path, size and time of change."""
    status = path.stat()
    stamp = [status.st_size, status.st_mtime_ns]
    memory = f"digests/{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}.json"
    if store.exists(memory):
        known: dict[str, Any] = json.loads(store.read(memory))
        if known["stamp"] == stamp:
            return str(known["sha256"])
    with path.open("rb") as file:
        value = hashlib.file_digest(file, "sha256").hexdigest()
    store.put(memory, canonical_json({"stamp": stamp, "sha256": value}))
    return value


def _download(repository: str, *, revision: str | None, at: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(_IDENTITY)))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        # Whatever the hub says, its first line is the reason that a person needs.
        reason = str(error).strip().splitlines()[0]
        fix = "Check the name, the revision and HF_TOKEN, or use a folder"
        raise InvalidModel(f"{repository} can't be fetched from the hub ({reason})", at=at, fix=fix) from error


def _read_config(path: Path, *, at: str) -> dict[str, Any]:
    fix = "Point it at a folder that transformers' save_pretrained wrote"
    if not path.is_dir():
        raise InvalidModel(f"{path} is not a folder", at=at, fix=fix)
    try:
        config: dict[str, Any] = json.loads((path / "config.json").read_bytes())
    except FileNotFoundError as error:
        raise InvalidModel(f"{path} has no config.json", at=at, fix=fix) from error
    except ValueError as error:
        raise InvalidModel(f"{path / 'config.json'} is not JSON ({error})", at=at, fix=fix) from error
    if not (path / "tokenizer.json").exists():
        raise InvalidModel(f"{path} has no tokenizer.json", at=at, fix="Save the fast tokenizer beside the weights")
    return config


def _count_parameters(path: Path, *, at: str) -> int:
    """Sum the shapes in a safetensors header: https://huggingface.co/docs/safetensors (format)."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100_000_000)))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (ValueError, KeyError, struct.error) as error:
        raise InvalidModel(f"{path} is not a safetensors file", at=at, fix="Download or save it again") from error
