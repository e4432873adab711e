"""Checkpoints: find a model, identify it, and read its configuration and the headers of its weights.

Of a model of the hub, only configuration and tokenizer are downloaded here; `weights` downloads the rest. What a commit
consists of never changes, so the store keeps it, and later stages do not ask the hub.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from kubedistill.canonical import canonical_json, digest
from kubedistill.errors import BadCredentials, InvalidModel, KubedistillError
from kubedistill.json_values import Json, JsonObject, as_object
from kubedistill.paths import HUB_SCHEME, local_path
from kubedistill_runtime.fit.weights import count_weights
from kubedistill_runtime.hub import fetch_files, find_folder, list_files, read_range
from kubedistill_runtime.hub_errors import NotOnThisMachine
from kubedistill_runtime.models import (
    DESCRIPTION,
    TOKENIZER,
    WEIGHTS,
    HubSnapshot,
    Model,
    folder_digest,
    read_object,
)
from kubedistill_runtime.safetensors_headers import ReadRange, Tensor, parse_tensor, read_header, tensor_values
from kubedistill_runtime.storage.store import Store

_CONFIG, _TOKENIZER_FILE, _INDEX = "config.json", "tokenizer.json", "model.safetensors.index.json"
_OWN_WEIGHTS, _OTHER_FORM = "model*.safetensors", "consolidated*"
"""Weights as transformers names them, and the same weights in the form of Mistral's own programs."""
_SINGLE, _VARIANT = "model.safetensors", "model.*.safetensors"
"""A file with all weights, and the same weights in another precision next to it, such as model.fp16.safetensors."""
_SHARD = re.compile(r"(model-)(\d+)(-of-)(\d+)(\.safetensors)")
_SAVE = "Point it at a folder that transformers' save_pretrained wrote"
_AGAIN = "Download or save it again"
_RECORDS = "models"
_READERS = 8


def find_model(
    source: str,
    *,
    commit: str | None = None,
    trust_remote_code: bool,
    data_root: Path,
    store: Store | None,
    records: Store | None = None,
    at: str,
    fetch: bool = True,
) -> Model:
    """Find a model, identify it and read its sizes, but not its weights.

    A source of the hub has a `commit`. Without a store, a folder is not identified, since that reads all of it;
    `records` is the store with what is known of commits, by default the same. Without `fetch`, nothing is downloaded.
    Raises InvalidModel, naming the field `at`, if there is no usable checkpoint, and the errors of fetch_files.
    """
    known = records or store
    found = _find(source, commit, weights=True, data_root=data_root, records=known, at=at, fetch=fetch)
    identity = commit or ("" if store is None else folder_digest(found.path, store=store))
    config = read_object(found.path / _CONFIG, at=at, fix=_SAVE)
    tensors = {name: tensor for file in found.tensors.values() for name, tensor in file.items()}
    weights = count_weights(tensors, config)
    return Model(
        source=source,
        path=found.path,
        digest=f"{identity}+code" if trust_remote_code else identity,
        parameters=weights.parameters,
        packed=weights.packed,
        config=config,
        trust_remote_code=trust_remote_code,
        hub=found.hub,
    )


def find_tokenizer(
    source: str,
    *,
    commit: str | None = None,
    data_root: Path,
    store: Store | None,
    records: Store | None = None,
    at: str,
    fetch: bool = True,
) -> Model:
    """Find the tokenizer and the chat template of a model; weights are not needed, and not identified.

    Takes and raises the same as find_model.
    """
    known = records or store
    found = _find(source, commit, weights=False, data_root=data_root, records=known, at=at, fetch=fetch)
    identity = commit or ("" if store is None else folder_digest(found.path, store=store, patterns=TOKENIZER))
    config = read_object(found.path / _CONFIG, at=at, fix=_SAVE)
    return Model(source=source, path=found.path, digest=identity, parameters=0, config=config, hub=found.hub)


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """A checkpoint that was found, and the tensors in each of its files of weights."""

    path: Path
    tensors: Mapping[str, Mapping[str, Tensor]]
    hub: HubSnapshot | None = None


def _find(
    source: str,
    commit: str | None,
    *,
    weights: bool,
    data_root: Path,
    records: Store | None,
    at: str,
    fetch: bool,
) -> _Checkpoint:
    """Find a folder, or a commit of the hub."""
    if not source.startswith(HUB_SCHEME):
        return _find_locally(source, weights=weights, data_root=data_root, at=at)
    assert commit is not None, "a model of the hub has a commit"
    return _find_on_hub(source, commit, weights=weights, records=records, at=at, fetch=fetch)


def _find_locally(source: str, *, weights: bool, data_root: Path, at: str) -> _Checkpoint:
    uri = local_path(source, root=data_root, at=at, fix="Use hf://, a file:// URI or a path", error=InvalidModel)
    path = uri.resolve()
    if not path.is_dir():
        raise InvalidModel(f"{path} is not a folder", at=at, fix=_SAVE)
    files = _files_in(path)
    _check_description(files, where=str(path), at=at)
    names = _weight_names(files, _read_index(path, files, at=at), where=str(path), at=at) if weights else []
    return _Checkpoint(path, {name: _read_locally(path / name, at=at) for name in names})


def _find_on_hub(
    source: str, commit: str, *, weights: bool, records: Store | None, at: str, fetch: bool
) -> _Checkpoint:
    """Find a commit of the hub; if the hub can't be asked, what an earlier download left is used, if it is complete."""
    repository = source.removeprefix(HUB_SCHEME)
    record = f"{_RECORDS}/{digest([repository, commit])}"
    if records is not None and records.exists(f"{record}/files.json"):
        files: dict[str, int] = json.loads(records.read(f"{record}/files.json"))
        return _read_from_hub(repository, commit, files, weights=weights, records=records, at=at, fetch=fetch)
    unavailable: KubedistillError = NotOnThisMachine(
        f"{repository} is not on this machine", at=at, fix="A run downloads it"
    )
    if fetch:
        try:
            files = list_files(repository, commit=commit, at=at)
        except BadCredentials:
            raise
        except KubedistillError as error:
            unavailable = error
        else:
            if records is not None:
                records.put(f"{record}/files.json", canonical_json(files))
            return _read_from_hub(repository, commit, files, weights=weights, records=records, at=at, fetch=True)
    folder = find_folder(repository, commit=commit)
    if folder is None:
        raise unavailable
    try:
        return _read_from_hub(repository, commit, _files_in(folder), weights=weights, records=None, at=at, fetch=False)
    except InvalidModel as incomplete:
        raise unavailable from incomplete


def _read_from_hub(
    repository: str,
    commit: str,
    files: Mapping[str, int],
    *,
    weights: bool,
    records: Store | None,
    at: str,
    fetch: bool,
) -> _Checkpoint:
    """Read a commit with these files; without `fetch` and a record, from files on this machine alone."""
    where = f"{HUB_SCHEME}{repository}"
    _check_description(files, where=where, at=at)
    described = _matching(files, DESCRIPTION if weights else TOKENIZER)
    path = fetch_files(repository, commit=commit, files={name: files[name] for name in described}, at=at, fetch=fetch)
    names = _weight_names(files, _read_index(path, files, at=at), where=where, at=at) if weights else []
    snapshot = HubSnapshot(repository, commit, {name: files[name] for name in (*described, *names)})
    record = f"{_RECORDS}/{digest([repository, commit])}/tensors.json"
    if records is not None and names and records.exists(record):
        return _Checkpoint(path, _parse_tensors(records.read(record)), snapshot)
    if not fetch and not all((path / name).is_file() for name in names):
        raise NotOnThisMachine(f"the weights of {repository} are not on this machine", at=at, fix="A run reads them")

    def read(name: str) -> dict[str, Tensor]:
        if (path / name).is_file():
            return _read_locally(path / name, at=at)
        there: ReadRange = partial(_read_there, repository, commit, name, at)
        return read_header(there, size=files[name], where=f"{name} of {repository}", at=at)

    with ThreadPoolExecutor(max_workers=_READERS) as readers:
        tensors = dict(zip(names, readers.map(read, names), strict=True))
    if records is not None and names:
        records.put(record, canonical_json({name: tensor_values(one) for name, one in tensors.items()}))
    return _Checkpoint(path, tensors, snapshot)


def _read_there(repository: str, commit: str, name: str, at: str, start: int, stop: int) -> bytes:
    return read_range(repository, commit=commit, name=name, start=start, stop=stop, at=at)


def _read_locally(path: Path, *, at: str) -> dict[str, Tensor]:
    def read(start: int, stop: int) -> bytes:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    return read_header(read, size=path.stat().st_size, where=str(path), at=at)


def _parse_tensors(data: bytes) -> dict[str, dict[str, Tensor]]:
    files: dict[str, JsonObject] = json.loads(data)
    return {file: {name: parse_tensor(one) for name, one in tensors.items()} for file, tensors in files.items()}


def _files_in(path: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in path.iterdir() if file.is_file()}


def _matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    return sorted(name for name in names if any(fnmatch(name, pattern) for pattern in patterns))


def _check_description(files: Collection[str], *, where: str, at: str) -> None:
    if _CONFIG not in files:
        raise InvalidModel(f"{where} has no {_CONFIG}", at=at, fix=_SAVE)
    if _TOKENIZER_FILE not in files:
        raise InvalidModel(
            f"{where} has no {_TOKENIZER_FILE}", at=at, fix="Save the fast tokenizer next to the weights"
        )


def _read_index(path: Path, files: Collection[str], *, at: str) -> Mapping[str, Json] | None:
    """Return the file of weights of each tensor, or None if no index says so."""
    if _INDEX not in files:
        return None
    return as_object(read_object(path / _INDEX, at=at, fix=_SAVE).get("weight_map"))


def _weight_names(files: Collection[str], index: Mapping[str, Json] | None, *, where: str, at: str) -> list[str]:
    """Return the files of weights that are loaded; others have the same weights in another form, or other ones."""
    if index is not None:
        names = sorted({str(name) for name in index.values()})
        if missing := [name for name in names if name not in files]:
            raise InvalidModel(f"{where} has no {missing[0]}", at=at, fix=_AGAIN)
        return names
    weights = _matching(files, [WEIGHTS])
    if _SINGLE in files:
        weights = [name for name in weights if not fnmatch(name, _VARIANT)]
    own = _matching(weights, [_OWN_WEIGHTS]) or [name for name in weights if not fnmatch(name, _OTHER_FORM)]
    if not own:
        raise InvalidModel(f"{where} has no {WEIGHTS}", at=at, fix="Save the checkpoint as safetensors")
    if lost := _missing_shard(own):
        raise InvalidModel(f"{where} has no {lost}", at=at, fix=_AGAIN)
    return own


def _missing_shard(names: Sequence[str]) -> str | None:
    """Return a file that belongs to the others by their numbers and is not there."""
    for shard in filter(None, map(_SHARD.fullmatch, names)):
        start, number, middle, count, end = shard.groups()
        every = (f"{start}{one:0{len(number)}}{middle}{count}{end}" for one in range(1, int(count) + 1))
        if missing := next((name for name in every if name not in names), None):
            return missing
    return None
