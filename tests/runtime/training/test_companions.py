"""Companions: to whoever reads the form in which a model was published, its export is the model that was trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from kubedistill_runtime.chat import load_stop_ids
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training.companions import write_companions
from kubedistill_runtime.training.student import load_language_model, save_language_model
from support.old_transformers import read_models
from support.published_models import PUBLISHED, VOCABULARY, write_published

IDS_L = np.random.default_rng(0).integers(5, VOCABULARY, 48).tolist()


def find(folder: Path, *, store: Store) -> Model:
    return find_model(str(folder), trust_remote_code=False, data_root=folder, store=store, at="spec.student.model")


def export(source: Path, store: Store, *, dtype: str | None = None, **changed: Any) -> Path:
    """Return what Train leaves of a student: loaded, saved, with its companions."""
    model = find(source, store=store)
    saved = store.root / "saved"
    save_language_model(load_language_model(model), saved, dtype=dtype or model.config["torch_dtype"])
    store.put_folder("student/model", saved)
    write_companions(source, store=store, folder="student/model", **changed)
    return store.path("student/model")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Return each published model, and its export."""
    made = {}
    for name, published in PUBLISHED.items():
        folder = tmp_path_factory.mktemp("model")
        write_published(published, folder / "source")
        made[name] = folder / "source", export(folder / "source", Store(folder / "store"))
    return made


@pytest.fixture(scope="module")
def old_readings(
    exports: dict[str, tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Return what the oldest transformers 4 that knows its architecture reads of each export."""
    scratch, found = tmp_path_factory.mktemp("read"), {}
    for version in sorted({published.version for published in PUBLISHED.values()}):
        folders = {name: exports[name][1] for name, published in PUBLISHED.items() if published.version == version}
        found |= read_models(version, folders, ids_L=IDS_L, scratch=scratch)
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_oldest_transformers_4_computes_what_transformers_5_does_on_the_original(
    name: str, exports: dict[str, tuple[Path, Path]], old_readings: dict[str, tuple[np.ndarray, dict[str, Any]]]
) -> None:
    source, _ = exports[name]
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        expected_LV = model(torch.tensor([IDS_L]), use_cache=False).logits[0].numpy()
    found_LV, settings = old_readings[name]
    np.testing.assert_allclose(found_LV, expected_LV, rtol=1e-3, atol=1e-3)
    assert (found_LV.argmax(1) == expected_LV.argmax(1)).all()
    config = PUBLISHED[name].config
    assert settings["rope_theta"] == config.get("rope_theta", 10000.0)
    assert (settings["rope_scaling"] or {}).items() >= (config.get("rope_scaling") or {}).items()
    assert settings["torch_dtype"] == f"torch.{config['torch_dtype']}"


@pytest.mark.parametrize("name", PUBLISHED)
def test_nothing_next_to_the_weights_is_rewritten(name: str, exports: dict[str, tuple[Path, Path]]) -> None:
    source, exported = exports[name]
    files = [
        {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".safetensors"}
        for folder in (source, exported)
    ]
    assert files[0] == files[1]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_published(PUBLISHED["Llama 3.1"], tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def edit(file: Path, **changed: Any) -> dict[str, Any]:
    values = {**json.loads(file.read_bytes()), **changed}
    file.write_text(json.dumps(values))
    return values


def test_saving_in_another_precision_changes_only_that_in_the_configuration(source: Path, store: Store) -> None:
    exported = export(source, store, dtype="float32")
    before, after = (json.loads((folder / "config.json").read_bytes()) for folder in (source, exported))
    assert list(after.items()) == list((before | {"torch_dtype": "float32"}).items())


def test_a_precision_that_transformers_5_spelled_is_spelled_so_again(source: Path, store: Store) -> None:
    edit(source / "config.json", dtype="bfloat16", torch_dtype=None)
    exported = export(source, store, dtype="float32")
    after = json.loads((exported / "config.json").read_bytes())
    assert (after["dtype"], after["torch_dtype"]) == ("float32", None)


def test_a_checkpoint_of_the_body_alone_is_exported_with_its_head(source: Path, store: Store) -> None:
    before = edit(source / "config.json", architectures=["LlamaModel"])
    exported = export(source, store)
    assert json.loads((exported / "config.json").read_bytes()) == before | {"architectures": ["LlamaForCausalLM"]}


def test_keys_that_the_caller_changes_are_changed_and_nothing_else(source: Path, store: Store) -> None:
    changed = {"config": {"eos_token_id": 7}, "generation": {"eos_token_id": [7], "temperature": 1.0}}
    exported = export(source, store, **changed)
    for name, keys in (("config.json", changed["config"]), ("generation_config.json", changed["generation"])):
        before, after = (json.loads((folder / name).read_bytes()) for folder in (source, exported))
        assert after == before | keys
    assert load_stop_ids(find(exported, store=store)) == (7,)


def test_a_model_without_generation_settings_gets_none_unless_some_are_changed(source: Path, store: Store) -> None:
    (source / "generation_config.json").unlink()
    exported = export(source, store)
    assert not (exported / "generation_config.json").exists()
    assert load_stop_ids(find(exported, store=store)) == (2, 3, 4)

    exported = export(source, Store(store.root / "changed"), generation={"eos_token_id": [3]})
    after = json.loads((exported / "generation_config.json").read_bytes())
    assert {key: after.get(key) for key in ("eos_token_id", "bos_token_id", "_from_model_config")} == {
        "eos_token_id": [3],
        "bos_token_id": 1,
        "_from_model_config": None,
    }


def test_a_part_of_the_original_is_described_as_it_was_saved(source: Path, store: Store) -> None:
    """A model for text and images of which the part for text was trained."""
    exported = export(source, store)
    saved = edit(exported / "config.json", model_type="llama")
    edit(source / "config.json", model_type="llava", text_config=saved)
    write_companions(source, store=store, folder="student/model", config={"eos_token_id": 7})
    assert json.loads((exported / "config.json").read_bytes()) == saved | {"eos_token_id": 7}


def test_weights_that_are_quantised_no_longer_are_not_called_so(source: Path, store: Store) -> None:
    before = (source / "config.json").read_bytes()
    exported = export(source, store)
    edit(source / "config.json", quantization_config={"quant_method": "fp8"})
    write_companions(source, store=store, folder="student/model")
    assert json.loads((exported / "config.json").read_bytes()) == json.loads(before)


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model", "vocab.json", "qwen.tiktoken", "modeling_own.py"])
def test_files_of_tokenizers_and_code_go_along(name: str, source: Path, store: Store) -> None:
    (source / name).write_bytes(b"\x00\xff")
    assert (export(source, store) / name).read_bytes() == b"\x00\xff"


@pytest.mark.parametrize("name", ["README.md", "kubedistill.json", "trainer_state.json", "adapter_config.json.bak"])
def test_what_does_not_describe_the_export_stays_behind(name: str, source: Path, store: Store) -> None:
    (source / name).write_bytes(b"{}")
    assert not (export(source, store) / name).exists()
