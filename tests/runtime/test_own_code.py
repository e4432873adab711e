"""Python code that a checkpoint brings along runs only where the manifest says that it may."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import InvalidModel
from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training.student import load_language_model
from support.job_folder import QUICKSTART
from support.messages import CheckMessage

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
Path({marker!r}).touch()

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig

class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
AT = "spec.student.model.source"
LOADERS: dict[str, Callable[[Model], Any]] = {
    "the tokenizer": lambda model: load_chat_format(model, at=AT),
    "the checkpoint": load_language_model,
}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "code-has-run"


@pytest.fixture
def folder(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the quickstart's student, except that all of its classes are its own."""
    folder = tmp_path / "model"
    shutil.copytree(QUICKSTART / "student", folder)
    (folder / "own_code.py").write_text(CODE.format(marker=str(marker)))
    edit(
        folder / "config.json",
        model_type="own",
        auto_map={
            "AutoConfig": "own_code.OwnConfig",
            "AutoModelForCausalLM": "own_code.OwnModel",
        },
    )
    edit(
        folder / "tokenizer_config.json",
        tokenizer_class="OwnTokenizer",
        auto_map={"AutoTokenizer": [None, "own_code.OwnTokenizer"]},
    )
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    return folder


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def find(folder: Path, *, trust: bool) -> Model:
    store = Store(folder.parent / "store")
    return find_model(str(folder), trust_remote_code=trust, data_root=folder, store=store, at=AT)


@pytest.mark.parametrize("what", LOADERS)
def test_code_that_is_not_trusted_is_named_and_does_not_run(
    what: str, folder: Path, marker: Path, check_message: CheckMessage
) -> None:
    with pytest.raises(InvalidModel) as refused:
        LOADERS[what](find(folder, trust=False))
    check_message(refused.value, AT, what, "trustRemoteCode: true")
    assert not marker.exists()


@pytest.mark.parametrize("what", LOADERS)
def test_code_that_is_trusted_runs(what: str, folder: Path, marker: Path) -> None:
    LOADERS[what](find(folder, trust=True))
    assert marker.exists(), "the trap of the test above is not armed"


@pytest.mark.parametrize("what", LOADERS)
def test_a_broken_file_is_a_problem_of_the_model_and_not_of_trust(
    what: str, folder: Path, marker: Path, check_message: CheckMessage
) -> None:
    shutil.copy(QUICKSTART / "student" / "config.json", folder)
    shutil.copy(QUICKSTART / "student" / "tokenizer_config.json", folder)
    model = find(folder, trust=False)
    (folder / "tokenizer.json").write_text('{"model": 1}')
    (folder / "model.safetensors").write_bytes(b"12345678")
    with pytest.raises(InvalidModel) as refused:
        LOADERS[what](model)
    check_message(refused.value, AT, what, folder)
    assert not marker.exists()
