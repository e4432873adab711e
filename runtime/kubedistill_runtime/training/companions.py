"""Companions: the files next to the weights in a model folder, in the form in which they were published.

Transformers 5 would write config.json in another form, without rope_theta, rope_scaling and torch_dtype, so
transformers 4, llama.cpp, TGI and MLX would load a different model without an error.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from kubedistill.json_values import Json, JsonObject
from kubedistill_runtime.chat.template import load_stop_ids
from kubedistill_runtime.models import Model
from kubedistill_runtime.storage.store import Store

_CONFIG, _GENERATION = "config.json", "generation_config.json"
_UNCHANGED = (
    "tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "added_tokens.json", "chat_template.json",
    "*preprocessor_config.json", "processor_config.json", "*.model", "*.tiktoken", "*.jinja", "*.py",
)  # fmt: skip


def write_companions(
    source: Path,
    *,
    store: Store,
    folder: str,
    config: Mapping[str, Json] | None = None,
    generation: Mapping[str, Json] | None = None,
) -> None:
    """Write the companions of the model in `source` next to the weights in a folder of the store.

    `config` and `generation` are the keys of config.json and generation_config.json that differ from the original. A
    file without such keys is copied byte by byte.
    """
    for pattern in _UNCHANGED:
        for file in filter(Path.is_file, source.glob(pattern)):
            store.put(f"{folder}/{file.name}", file.read_bytes())
    _write_config(source / _CONFIG, store=store, name=f"{folder}/{_CONFIG}", changed=config or {})
    _write_generation(source / _GENERATION, store=store, name=f"{folder}/{_GENERATION}", changed=generation or {})


def explicit_stop_ids(student: Model) -> JsonObject:
    """Return the keys of generation_config.json that are needed so that the export stops as the student was trained.

    If there is a generation_config.json without stop ids, readers ignore those of config.json.
    """
    path = student.path / _GENERATION
    named = json.loads(path.read_bytes()).get("eos_token_id") if path.exists() else None
    return {} if named is not None or not path.exists() else {"eos_token_id": list(load_stop_ids(student))}


def _write_config(source: Path, *, store: Store, name: str, changed: Mapping[str, Json]) -> None:
    original, saved = json.loads(source.read_bytes()), json.loads(store.read(name))
    if original.get("model_type") != saved.get("model_type"):  # only a part of the original was trained and saved
        store.put(name, _encode({**saved, **changed}))
        return
    changed = {**_describe_weights(original, saved), **changed}
    kept = {key: value for key, value in original.items() if key != "quantization_config" or key in saved}
    values = {**kept, **changed}
    store.put(name, source.read_bytes() if values == original else _encode(values))


def _write_generation(source: Path, *, store: Store, name: str, changed: Mapping[str, Json]) -> None:
    """Write generation_config.json if the original has one or keys differ; otherwise readers use config.json."""
    if not changed and not source.exists():
        store.delete(name)
    elif not changed:
        store.put(name, source.read_bytes())
    else:
        before = json.loads(source.read_bytes() if source.exists() else store.read(name))
        before.pop("_from_model_config", None)  # with it, transformers would read config.json instead
        store.put(name, _encode({**before, **changed}))


def _describe_weights(original: Mapping[str, Json], saved: Mapping[str, Json]) -> JsonObject:
    """Return the keys for precision and class of the saved weights if they differ from the original."""
    dtype = next((key for key in ("torch_dtype", "dtype") if original.get(key)), None)
    now = {"architectures": saved["architectures"]}
    if dtype:
        now[dtype] = saved.get("dtype") or saved["torch_dtype"]
    return {key: value for key, value in now.items() if original.get(key) != value}


def _encode(values: Mapping[str, Json]) -> bytes:
    return f"{json.dumps(values, indent=2)}\n".encode()
