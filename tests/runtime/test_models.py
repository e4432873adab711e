"""Models as folders: what is refused before it is loaded, what a model is known by, and how large it is."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from kubedistill.errors import InvalidModel
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model, file_digest, folder_digest, forget_digests
from kubedistill_runtime.storage.store import Store
from support.job_folder import QUICKSTART, write_model
from support.messages import CheckMessage

Spoil = Callable[[Path], None]
AT = "spec.student.model.source"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", size=2)
    return tmp_path / "model"


def find(source: str, *, store: Store, root: Path = Path("/"), trust: bool = False) -> Model:
    return find_model(source, trust_remote_code=trust, data_root=root, store=store, at=AT)


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def write(name: str, data: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data) and None


def cut(name: str, *, to: int) -> Spoil:
    return lambda folder: os.truncate(folder / name, to)


def header(values: Any, *, data: bytes = b"") -> bytes:
    encoded = json.dumps(values).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def index(folder: Path, *names: str) -> None:
    weight_map = {f"weight.{number}": name for number, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


SPOILT: dict[str, tuple[Spoil, str]] = {
    "no config": (remove("config.json"), "config.json"),
    "a config that is not JSON": (write("config.json", b'{"model_type": '), "config.json"),
    "a config that is not UTF-8": (write("config.json", b'{"a": "\xff"}'), "config.json"),
    "a config that is a list": (write("config.json", b"[]"), "config.json"),
    "no tokenizer": (remove("tokenizer.json"), "tokenizer.json"),
    "no weights": (remove("model.safetensors"), "safetensors"),
    "weights without a header": (cut("model.safetensors", to=0), "model.safetensors"),
    "weights with half a header": (cut("model.safetensors", to=20), "model.safetensors"),
    "weights that lack their end": (cut("model.safetensors", to=90), "model.safetensors"),
    "weights that are text": (write("model.safetensors", b"version https://lfs"), "model.safetensors"),
    "a header that is a list": (write("model.safetensors", header([1])), "model.safetensors"),
    "a header without shapes": (
        write("model.safetensors", header({"weight": {"dtype": "F32"}})), "model.safetensors",
    ),
    "a missing shard": (
        lambda folder: index(folder, "model.safetensors", "model-2.safetensors"), "model-2.safetensors",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_folder_is_refused_with_field_and_fix(
    name: str, folder: Path, store: Store, check_message: CheckMessage
) -> None:
    spoil, named = SPOILT[name]
    spoil(folder)
    with pytest.raises(InvalidModel) as refused:
        find(str(folder), store=store)
    assert refused.value.at == AT
    assert refused.value.fix
    check_message(refused.value, folder, named)


@pytest.mark.parametrize(
    ("source", "named"), [("gone", "gone"), ("model/config.json", "config.json"), ("s3://bucket/model", "'s3'")]
)
def test_a_source_that_is_not_a_folder_is_refused(
    source: str, named: str, folder: Path, store: Store, tmp_path: Path, check_message: CheckMessage
) -> None:
    with pytest.raises(InvalidModel) as refused:
        find(source, store=store, root=tmp_path)
    check_message(refused.value, AT, named)


def test_a_path_is_relative_to_the_data_root_and_a_uri_is_decoded(folder: Path, store: Store, tmp_path: Path) -> None:
    spaced = folder.rename(tmp_path / "my model")
    found = [find(source, store=store, root=tmp_path) for source in ("my model", spaced.as_uri(), str(spaced))]
    assert {model.path for model in found} == {spaced.resolve()}
    assert len({model.digest for model in found}) == 1


def test_parameters_are_counted_over_all_shards(folder: Path, store: Store) -> None:
    save_file({"a": np.zeros((3, 5), np.float16), "b": np.zeros((), np.float32)}, folder / "model-2.safetensors")
    assert find(str(folder), store=store).parameters == 2 * 4 + 3 * 5 + 1


def test_weights_that_lie_there_in_another_form_are_counted_once(folder: Path, store: Store) -> None:
    (folder / "consolidated.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    index(folder, "model.safetensors")
    assert find(str(folder), store=store).parameters == 2 * 4


def test_the_quickstart_models_are_as_large_as_their_page_says(store: Store) -> None:
    sizes = {name: find(name, root=QUICKSTART, store=store).parameters for name in ("teacher", "student")}
    assert {name: round(size / 1e6, 2) for name, size in sizes.items()} == {"teacher": 2.56, "student": 0.3}


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja", "modeling.py", "tokenizer.model"],
)
def test_every_file_that_decides_about_answers_is_in_the_digest(name: str, folder: Path, store: Store) -> None:
    (folder / name).touch()
    before = folder_digest(folder, store=store)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    after = folder_digest(folder, store=store)
    (folder / name).rename(folder / f"other-{name}")
    assert len({before, after, folder_digest(folder, store=store)}) == 3


def test_a_readme_is_not_in_the_digest(folder: Path, store: Store) -> None:
    before = folder_digest(folder, store=store)
    (folder / "README.md").write_text("Hello")
    assert folder_digest(folder, store=store) == before


def test_leave_to_run_code_is_part_of_what_a_model_is(folder: Path, store: Store) -> None:
    plain, trusted = (find(str(folder), store=store, trust=trust) for trust in (False, True))
    assert trusted.digest == f"{plain.digest}+code"


def test_a_digest_is_remembered_while_the_file_is_as_it_was(folder: Path, store: Store) -> None:
    before = file_digest(folder / "config.json", store=store)
    (memory,) = store.names("digests")
    store.put(memory, store.read(memory).replace(before.encode(), b"remembered"))
    assert file_digest(folder / "config.json", store=store) == "remembered"


@pytest.mark.parametrize(("longer", "later"), [(False, True), (True, False), (True, True)])
def test_a_changed_file_is_read_again(*, longer: bool, later: bool, folder: Path, store: Store) -> None:
    file = folder / "config.json"
    status = file.stat()
    before = file_digest(file, store=store)
    file.write_bytes(b"x" * (status.st_size + longer))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + later))
    assert file_digest(file, store=store) != before


def in_place(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def by_rename(file: Path, data: bytes) -> None:
    """As rsync, editors and hub clients do."""
    other = file.with_name("other")
    other.write_bytes(data)
    other.rename(file)


def through_a_link(file: Path, data: bytes) -> None:
    """As the hub's cache and mounted ConfigMaps do: the name is a link, and the link is turned elsewhere."""
    other = file.with_name("other")
    other.write_bytes(data)
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    file.unlink()
    file.symlink_to(other)


def wait_for_the_next_tick(file: Path) -> None:
    """The file system's clock has ticks of some milliseconds; two edits within one have one time."""
    probe = file.with_name("probe")
    while not probe.exists() or probe.stat().st_ctime_ns <= file.stat().st_ctime_ns:
        probe.write_bytes(b"")


@pytest.mark.parametrize("edit", [in_place, by_rename, through_a_link])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "chat_template.jinja", "train.jsonl"])
def test_an_edit_of_the_same_size_and_time_is_seen(
    name: str, edit: Callable[[Path, bytes], None], folder: Path, store: Store
) -> None:
    file = folder / name
    file.write_bytes(b"before")
    status = file.stat()
    before = file_digest(file, store=store)
    wait_for_the_next_tick(file)
    edit(file, b"after.")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert file_digest(file, store=store) != before


def test_digests_that_are_forgotten_are_taken_again(folder: Path, store: Store) -> None:
    before = folder_digest(folder, store=store)
    for memory in store.names("digests"):
        values = json.loads(store.read(memory))
        store.put(memory, json.dumps(values | {"sha256": "of other bytes"}).encode())
    assert folder_digest(folder, store=store) != before
    forget_digests(store)
    assert folder_digest(folder, store=store) == before


def test_a_copy_elsewhere_has_the_same_digest(folder: Path, store: Store, tmp_path: Path) -> None:
    write_model(tmp_path / "copy", size=2)
    assert folder_digest(tmp_path / "copy", store=store) == folder_digest(folder, store=store)
