"""Models: what is known of a checkpoint, and the digests of its files."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubedistill.canonical import canonical_json, digest
from kubedistill.errors import InvalidModel
from kubedistill.json_values import Json, JsonObject, as_object
from kubedistill_runtime.fit.sizes import text_config
from kubedistill_runtime.fit.weights import Packed, Weights
from kubedistill_runtime.root_cause import first_line
from kubedistill_runtime.storage.store import Store

_DIGESTS = "digests"
WEIGHTS = "*.safetensors"
TOKENIZER = ("*.json", "*.jinja", "*.model", "*.txt")
DESCRIPTION = (*TOKENIZER, "*.py")
"""A model's files, except its weights."""
_POSITIONS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_target_positions",
    "max_sequence_length", "max_seq_length", "seq_len",
)  # fmt: skip
_ORIGINAL = "original_max_position_embeddings"
_LONG_ROPE = ("longrope", "su")
# vLLM 0.32, config/model.py, _get_and_verify_max_len; telechat3-yarn is read as yarn.
_EXTENDED_ALREADY = frozenset(
    {*_LONG_ROPE, "llama3", "yarn", "telechat3-yarn", "deepseek_yarn", "deepseek_llama_scaling"}
)


@dataclass(frozen=True, slots=True)
class HubSnapshot:
    """A commit of a model of the hub."""

    repository: str
    commit: str
    files: Mapping[str, int]
    """The files that load it, with their bytes: its configuration, its tokenizer and its weights in one form."""


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint whose configuration and tokenizer are on this machine."""

    source: str
    path: Path
    """Folder of the configuration and the tokenizer; of a model that is not of the hub, also of the weights."""
    digest: str
    """The hub's commit, or the sha256 of the folder's files; with "+code" if its own Python code may run."""
    parameters: int
    config: Mapping[str, Json]
    trust_remote_code: bool = False
    template_variables: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """What its chat template is given in addition to the messages."""
    hub: HubSnapshot | None = None
    """Where its weights come from; None if they are in its folder."""
    packed: Packed = field(default_factory=Packed)
    """The parameters that are stored in a quantized form."""

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the model supports, in tokens; None if its configuration does not say."""
        positions = _declared_positions(text_config(self.config))
        return None if positions is None else int(positions * _extension(self.config))

    @property
    def weights(self) -> Weights:
        """The parameters, and the packed ones among them."""
        return Weights(self.parameters, self.packed)


def original_positions(config: Mapping[str, Json]) -> int | None:
    """Return the number of tokens up to which a LongRoPE model uses its short factors; None for other models."""
    text = text_config(config)
    for rope in _rope_settings(text):
        if _rope_kind(rope) in _LONG_ROPE or "long_factor" in rope:
            places = (text.get(_ORIGINAL), rope.get(_ORIGINAL), config.get(_ORIGINAL))
            return next((one for one in places if one and isinstance(one, int)), _declared_positions(text))
    return None


def folder_digest(path: Path, *, store: Store, patterns: Sequence[str] = (*DESCRIPTION, WEIGHTS)) -> str:
    """Return the sha256 of a model folder's files."""
    files = sorted({file for pattern in patterns for file in path.glob(pattern)})
    return digest({file.name: file_digest(file, store=store) for file in files})


def file_digest(path: Path, *, store: Store) -> str:
    """Return the sha256 of a file, and cache it in the store until the file changes.

    Size and modification time alone do not show every change: `rsync -t`, `cp -p`, tar and image layers set that time.
    No program can set the change time of an inode, and a file that was renamed into place has another inode.
    """
    status = path.stat()
    stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    cached = f"{_DIGESTS}/{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}.json"
    if store.exists(cached):
        known = json.loads(store.read(cached))
        if known["stamp"] == stamp:
            return str(known["sha256"])
    with path.open("rb") as file:
        value = hashlib.file_digest(file, "sha256").hexdigest()
    store.put(cached, canonical_json({"stamp": stamp, "sha256": value}))
    return value


def forget_digests(store: Store) -> None:
    """Remove the cached digests of all files, so that each file is read again."""
    for name in store.names(_DIGESTS):
        store.delete(name)


def cannot_load(model: Model, error: Exception, *, what: str, at: str) -> InvalidModel:
    """Return the error for a checkpoint that a library can't load, with the first line of the library's error."""
    if not model.trust_remote_code and _has_own_code(model.path):
        fix = "Read its Python files, then set trustRemoteCode: true"
        return InvalidModel(f"the {what} needs Python code from the checkpoint", at=at, fix=fix)
    return InvalidModel(f"the {what} can't be loaded ({first_line(error)})", at=at, fix=f"Check {model.path}")


def read_object(path: Path, *, at: str, fix: str) -> JsonObject:
    """Read one of a model's JSON files; raises InvalidModel, naming `at`, if it is not a JSON object."""
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidModel(f"{path.parent} has no {path.name}", at=at, fix=fix) from error
    except ValueError as error:
        raise InvalidModel(f"{path} is not JSON ({error})", at=at, fix=fix) from error
    if not isinstance(values, dict):
        raise InvalidModel(f"{path} is not a JSON object", at=at, fix=fix)
    return values


def _declared_positions(text: Mapping[str, Json]) -> int | None:
    """Return the smallest length in a configuration, as vLLM reads it; Cohere's model_max_length has precedence."""
    override = text.get("model_max_length")
    if isinstance(override, int) and override > 0:
        return override
    return min((length for key in _POSITIONS if isinstance(length := text.get(key), int)), default=None)


def _extension(config: Mapping[str, Json]) -> float:
    """Return the factor by which vLLM extends the positions of a model with scaled rotary embeddings.

    For most kinds of scaling, and for all Gemma 3 models, the configuration has the extended length already.
    """
    text = text_config(config)
    if "gemma3" in str(text.get("model_type")):
        return 1.0
    factors = [rope.get("factor", 1.0) for rope in _rope_settings(text) if _rope_kind(rope) not in _EXTENDED_ALREADY]
    factor = factors[-1] if factors else None
    return float(factor) if factor and isinstance(factor, int | float) else 1.0


def _rope_settings(text: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """Return the settings of rotary embeddings, one per kind of layer if they differ.

    Transformers 4 writes rope_scaling, transformers 5 writes rope_parameters.
    """
    settings = as_object(text.get("rope_scaling") or text.get("rope_parameters"))
    by_layer: list[Mapping[str, Json]] = [one for one in settings.values() if isinstance(one, dict)]
    return by_layer or [settings]


def _rope_kind(rope: Mapping[str, Json]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _has_own_code(path: Path) -> bool:
    files = (path / name for name in ("config.json", "tokenizer_config.json"))
    return any(b'"auto_map"' in file.read_bytes() for file in files if file.exists())
