"""Safetensors: what is exported loads in transformers and says what the student says."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.export import FORMATS
from kubedistill_runtime.models import Model
from kubedistill_runtime.storage.store import Store
from support.job_folder import QUICKSTART


def test_the_exported_folder_loads_with_the_students_weights_and_tokens(tmp_path: Path) -> None:
    FORMATS["Safetensors"](QUICKSTART / "student", tmp_path / "out")
    loaded, original = (
        AutoModelForCausalLM.from_pretrained(path) for path in (tmp_path / "out", QUICKSTART / "student")
    )
    weights = original.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in loaded.state_dict().items())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Where is it?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=False,
    )
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, original(ids).logits)


def test_an_export_may_be_the_source_of_the_next_job(tmp_path: Path) -> None:
    FORMATS["Safetensors"](QUICKSTART / "student", tmp_path / "out")

    def find(path: Path) -> Model:
        store = Store(tmp_path / "store")
        return find_model(str(path), trust_remote_code=False, data_root=path, store=store, at="x")

    assert find(tmp_path / "out").digest == find(QUICKSTART / "student").digest
