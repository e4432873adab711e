"""Models of the hub: the real client against a hub on loopback, down to the bytes that are sent."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from safetensors.numpy import save, save_file

from kubedistill.errors import BadCredentials, HubUnavailable, InvalidModel, KubedistillError, Stopped
from kubedistill_runtime.checkpoints import find_model, find_tokenizer
from kubedistill_runtime.hub import find_commit
from kubedistill_runtime.hub_errors import NotOnThisMachine
from kubedistill_runtime.models import Model
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.weights import materialize
from support.job_folder import write_model
from support.kube_api import wait_for
from support.local_hub import TOKEN, LocalHub, Repository, serve_hub
from support.loopback_hub import use, use_empty_cache
from support.messages import CheckMessage

AT = "spec.student.model.source"
NAME = "organization/name"
SOURCE = f"hf://{NAME}"
DESCRIPTION = {"config.json", "tokenizer.json"}
LARGE = 3 * 2**20


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_empty_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with serve_hub() as hub:
        use(hub.address, monkeypatch)
        yield hub


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", size=2)
    save_file({"weight": np.ones(LARGE // 4, np.float32)}, tmp_path / "model" / "model.safetensors")
    return tmp_path / "model"


def find(store: Store | None, *, commit: str | None = None, fetch: bool = True) -> Model:
    commit = commit or find_commit(NAME, revision=None, at=AT, fetch=fetch)
    return find_model(
        SOURCE, commit=commit, trust_remote_code=False, data_root=Path("/"), store=store, at=AT, fetch=fetch
    )


def test_finding_a_model_downloads_no_weights(hub: LocalHub, folder: Path, store: Store) -> None:
    commit = hub.repository(NAME).push_folder(folder)
    model = find(store)
    assert (model.digest, model.parameters) == (commit, LARGE // 4)
    assert {path.name for path in model.path.iterdir()} == DESCRIPTION
    assert hub.sent.pop("model.safetensors") <= 200_000
    assert set(hub.sent) == DESCRIPTION


def test_what_a_commit_consists_of_is_asked_once(hub: LocalHub, folder: Path, store: Store) -> None:
    commit = hub.repository(NAME).push_folder(folder)
    before = find(store, commit=commit)
    hub.reset()
    assert find(store, commit=commit) == before
    assert hub.requests == []


def test_a_header_that_is_long_is_read_whole(hub: LocalHub, folder: Path, store: Store) -> None:
    tensors = {f"model.layers.{number:04}.weight": np.zeros(3, np.float16) for number in range(3000)}
    save_file(tensors, folder / "model.safetensors")
    hub.repository(NAME).push_folder(folder)
    assert find(store).parameters == 9000
    assert sum("blobs" in one for one in hub.requests) == 2


FORMS: dict[str, tuple[Callable[[Path], dict[str, bytes]], set[str]]] = {
    "one file": (lambda _: {}, {"model.safetensors"}),
    "an index": (
        lambda folder: {
            "model-1.safetensors": save({"a": np.zeros(3, np.float32)}),
            "model-2.safetensors": save({"b": np.zeros(4, np.float32)}),
            "model.safetensors.index.json": b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}',
        },
        {"model-1.safetensors", "model-2.safetensors"},
    ),
    "the form of Mistral's programs": (
        lambda folder: {"consolidated.safetensors": (folder / "model.safetensors").read_bytes()}, {"model.safetensors"},
    ),
    "folders and other formats": (
        lambda folder: {"onnx/model.onnx": b"1", "original/model.safetensors": b"2", "pytorch_model.bin": b"3",
                        "adapter.safetensors": b"4", "original/params.json": b"{}", "README.md": b"5"},
        {"model.safetensors"},
    ),
    "variants": (
        lambda folder: {"model.fp16.safetensors": (folder / "model.safetensors").read_bytes()}, {"model.safetensors"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_files_that_load_a_model_are_downloaded_and_no_others(
    form: str, hub: LocalHub, folder: Path, store: Store
) -> None:
    more, weights = FORMS[form]
    hub.repository(NAME).push_folder(folder, **more(folder))
    index = {name for name in more(folder) if name.endswith("index.json")}
    path = materialize(find(store))
    assert {file.name for file in path.iterdir()} == DESCRIPTION | index | weights


def test_weights_that_are_there_need_no_hub(
    hub: LocalHub, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repository(NAME).push_folder(folder)
    model = find(store)
    path = materialize(model)
    assert (path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    use("http://127.0.0.1:9", monkeypatch)
    assert materialize(find(store)) == path
    assert find(None, fetch=False).parameters == model.parameters, "without the record of the store"


def test_a_download_reports_its_bytes_and_can_be_stopped(hub: LocalHub, folder: Path, store: Store) -> None:
    hub.repository(NAME).push_folder(folder)
    model, reports = find(store), list[tuple[int, int]]()
    materialize(model, report=lambda done, total: reports.append((done, total)))
    assert model.hub is not None
    assert reports[-1] == (sum(model.hub.files.values()),) * 2
    (model.path / "model.safetensors").unlink()

    def stop(_done: int, _total: int) -> None:
        raise Stopped("the stage was asked to stop", fix="Start again")

    with pytest.raises(Stopped):
        materialize(model, report=stop)


def test_a_transfer_that_breaks_off_continues_where_it_was(
    hub: LocalHub, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 2**18)
    hub.repository(NAME).push_folder(folder)
    model = find(store)
    hub.reset()
    hub.cuts += [2**20, 2**20]
    path = materialize(model)
    size = (folder / "model.safetensors").stat().st_size
    assert (path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert hub.sent["model.safetensors"] == size, "nothing is sent twice"


def test_a_download_that_was_killed_keeps_its_complete_files(hub: LocalHub, folder: Path, store: Store) -> None:
    shards = {f"model-{number}.safetensors": save({"a": np.full(3, number)}) for number in (1, 2)}
    (folder / "model.safetensors").unlink()
    hub.repository(NAME).push_folder(folder, **shards)
    model = find(store)
    (materialize(model) / "model-2.safetensors").unlink()
    hub.reset()
    materialize(model)
    assert set(hub.sent) <= {"model-2.safetensors"}


_FETCH = """
import json, sys
from huggingface_hub import constants
from kubedistill_runtime.hub import fetch_files
constants.DOWNLOAD_CHUNK_SIZE = 2**18
repository, commit, files = sys.argv[1:]
fetch_files(repository, commit=commit, files=json.loads(files), at="x", fetch=True)
"""


def start_process(hub: LocalHub, model: Model) -> "subprocess.Popen[bytes]":
    """Download the weights of a model in another process, into the same cache."""
    assert model.hub is not None
    variables = {"HF_ENDPOINT": hub.address, "HF_HUB_CACHE": huggingface_hub.constants.HF_HUB_CACHE}
    command = [sys.executable, "-c", _FETCH, model.hub.repository, model.hub.commit, json.dumps(dict(model.hub.files))]
    return subprocess.Popen(command, env={**os.environ, **variables, "HF_HUB_DISABLE_XET": "1"})


def parts() -> list[Path]:
    """Return what downloads have begun and not completed."""
    return list(Path(huggingface_hub.constants.HF_HUB_CACHE).glob("*/blobs/*.incomplete"))


def test_two_processes_download_a_file_once(hub: LocalHub, folder: Path, store: Store) -> None:
    hub.repository(NAME).push_folder(folder)
    model = find(store)
    hub.reset()
    both = [start_process(hub, model) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert hub.sent["model.safetensors"] == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("damaged", [False, True], ids=["", "and its part was changed"])
def test_a_download_that_was_killed_continues_where_it_was(
    *, damaged: bool, hub: LocalHub, folder: Path, store: Store
) -> None:
    hub.repository(NAME).push_folder(folder)
    model, whole = find(store), folder / "model.safetensors"
    hub.reset()
    hub.stalls.append(LARGE // 2)
    process = start_process(hub, model)
    wait_for(lambda: [one.stat().st_size for one in parts()] == [LARGE // 2], what="half of a file")
    process.kill()
    process.wait()
    (part,) = parts()
    if damaged:
        part.write_bytes(bytes(LARGE // 2))
    os.utime(part, (0, 0))  # long ago
    path = materialize(model)
    assert (path / "model.safetensors").read_bytes() == whole.read_bytes()
    assert hub.sent["model.safetensors"] == whole.stat().st_size * (1 + damaged)
    assert parts() == []


def test_what_another_process_may_still_write_is_left_alone(hub: LocalHub, folder: Path, store: Store) -> None:
    hub.repository(NAME).push_folder(folder)
    model = find(store)
    blob = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    part = Path(huggingface_hub.constants.HF_HUB_CACHE, "models--organization--name", "blobs", f"{blob}.1.incomplete")
    part.write_bytes(b"a part")
    path = materialize(model)
    assert (path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert parts() == [part]


def test_a_file_that_the_hub_cannot_give_for_now_is_asked_for_again(hub: LocalHub, folder: Path, store: Store) -> None:
    hub.repository(NAME).push_folder(folder)
    model = find(store)
    hub.busy += [(503, {}), (500, {}), (429, {"Retry_After": "1"}), (502, {})]
    assert (materialize(model) / "model.safetensors").is_file()
    assert hub.busy == []


def test_a_hub_that_is_busy_is_asked_again(hub: LocalHub, folder: Path, store: Store) -> None:
    hub.repository(NAME).push_folder(folder)
    hub.busy += [(429, {"Retry_After": "1"})] * 2
    commit = find_commit(NAME, revision=None, at=AT, fetch=True)
    describe = find_tokenizer(SOURCE, commit=commit, data_root=Path("/"), store=store, at=AT)
    hub.busy += [(503, {})]
    assert find(store).path == describe.path
    assert hub.busy == []


def test_a_gated_model_needs_a_token_at_once(
    hub: LocalHub, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch, check_message: CheckMessage
) -> None:
    hub.repository(NAME, gated=True).push_folder(folder)
    with pytest.raises(BadCredentials) as refused:
        find(store)
    check_message(refused.value, AT, NAME, "HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    with pytest.raises(BadCredentials):
        find(store)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find(store).parameters == LARGE // 4


def without(*names: str) -> Callable[[Repository, Path], None]:
    def push(repository: Repository, folder: Path) -> None:
        for name in names:
            (folder / name).unlink()
        repository.push_folder(folder, **{"pytorch_model.bin": b"1"})

    return push


REFUSED: dict[str, tuple[Callable[[Repository, Path], None], str]] = {
    "no weights as safetensors": (without("model.safetensors"), "safetensors"),
    "no fast tokenizer": (without("tokenizer.json"), "tokenizer.json"),
    "no configuration": (without("config.json"), "config.json"),
    "an empty repository": (lambda repository, _: repository.push({}) and None, "config.json"),
    "a branch that is gone": (lambda repository, _: None, "main"),
    "a shard without the others, and no index": (
        lambda repository, folder: repository.push_folder(
            (folder / "model.safetensors").rename(folder / "model-00001-of-00003.safetensors").parent
        ) and None,
        "model-00002-of-00003.safetensors",
    ),
    "weights that are cut": (
        lambda repository, folder: repository.push_folder(
            folder, **{"model.safetensors": (folder / "model.safetensors").read_bytes()[:-1]}
        ) and None,
        "model.safetensors",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_repository_without_a_usable_checkpoint_is_refused(
    case: str, hub: LocalHub, folder: Path, store: Store
) -> None:
    push, named = REFUSED[case]
    push(hub.repository(NAME), folder)
    with pytest.raises(InvalidModel) as refused:
        find(store)
    assert (refused.value.at, NAME in refused.value.problem) == (AT, True)
    assert named in str(refused.value) or case == "a branch that is gone"
    assert hub.sent["model.safetensors"] <= 200_000


ENDPOINTS: dict[str, tuple[str, type[KubedistillError]]] = {
    "no scheme": ("hub.example.com", InvalidModel),
    "nothing listens": ("http://127.0.0.1:9", HubUnavailable),
    "no hub": ("{hub}/mirror", InvalidModel),
}


@pytest.mark.parametrize("case", ENDPOINTS)
def test_a_wrong_address_of_the_hub_is_named(
    case: str, hub: LocalHub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, kind = ENDPOINTS[case]
    monkeypatch.setenv("HF_ENDPOINT", address.format(hub=hub.address))
    use(address.format(hub=hub.address), monkeypatch)
    with pytest.raises(KubedistillError) as refused:
        find(store)
    assert (type(refused.value), refused.value.at) == (kind, AT)
    assert "HF_ENDPOINT" in str(refused.value)


def test_without_downloads_only_what_is_there_is_used(hub: LocalHub, folder: Path, store: Store) -> None:
    commit = hub.repository(NAME).push_folder(folder)
    with pytest.raises(NotOnThisMachine):
        find(store, fetch=False)
    find(store)
    hub.reset()
    assert find(store, fetch=False).digest == commit
    with pytest.raises(NotOnThisMachine):
        find(None, fetch=False)
    assert hub.requests == []


def test_of_a_tokenizer_nothing_else_is_downloaded(hub: LocalHub, folder: Path, store: Store) -> None:
    commit = hub.repository(NAME).push_folder(folder, **{"modeling.py": b"1"})
    found = find_tokenizer(SOURCE, commit=commit, data_root=Path("/"), store=store, at=AT)
    assert (found.digest, set(hub.sent)) == (commit, DESCRIPTION)
