"""The folder of one job: two models, three files of records and a spec, for a test to edit."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from kubedistill.canonical import digest
from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract import Hardware, JobRef, Prices, RunRef, StageJob
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.storage.store import Store

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
COUNTS = {"train": 40, "validation": 8, "test": 8}
SPEC: dict[str, Any] = {
    "task": {"type": "Classification", "labels": ["yes", "no"]},
    "teachers": [{"name": "main", "model": {"source": "teacher", "maxModelLen": 64}}],
    "student": {"model": {"source": "student"}},
    "data": {split: {"uri": f"data/{split}.jsonl"} for split in COUNTS},
}


@dataclass(slots=True)
class JobFolder:
    """A job on this folder; paths in the spec are relative to it."""

    root: Path
    spec: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(SPEC))
    config_maps: dict[str, str] = field(default_factory=dict)
    prices: Prices = field(default_factory=Prices)
    hardware: dict[StageName, Hardware] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.root / "store")

    def set(self, path: str, value: Any) -> None:
        """Set a field of the spec, as in `training.validation.patience`; numbers are places in lists."""
        *parents, last = path.split(".")
        node: Any = self.spec
        for part in parents:
            node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
        node[int(last) if last.isdigit() else last] = value

    def drop(self, path: str) -> None:
        """Remove a field of the spec."""
        *parents, last = path.split(".")
        node: Any = self.spec
        for part in parents:
            node = node[int(part)] if part.isdigit() else node[part]
        del node[last]

    def stage_job(self, stage: StageName = "Prepare", *, keys: dict[ArtifactName, str] | None = None) -> StageJob:
        spec = Spec.model_validate_json(json.dumps(self.spec), by_alias=True, by_name=False)
        return StageJob(
            job=JobRef(namespace="default", name="job"),
            run=RunRef(id="local", digest=digest(self.spec)),
            stage=stage,
            attempt=1,
            token="token",
            frozen_spec=spec_values(spec),
            store=self.store.uri,
            data_root=self.root.as_uri(),
            config_maps=self.config_maps,
            artifacts=keys or {},
            prices=self.prices,
            hardware=self.hardware,
        )

    def resolve(self) -> Choices:
        return resolve(self.stage_job(), store=self.store)

    def keys(self) -> dict[ArtifactName, str]:
        return self.resolve().keys


def make_job_folder(root: Path) -> JobFolder:
    """Return two models that only their files know, with one tokenizer, and records that name neither."""
    write_model(root / "teacher", size=3)
    write_model(root / "student", size=2)
    (root / "data").mkdir()
    for split, count in COUNTS.items():
        write_records(root / "data" / f"{split}.jsonl", [f"{split} asks {number}" for number in range(count)])
    return JobFolder(root)


def write_model(folder: Path, *, size: int) -> None:
    """A folder that looks like a checkpoint: config, tokenizer and one tensor of size × 4 numbers."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 64}))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_values()))
    save_file({"weight": np.zeros((size, 4), np.float32)}, folder / "model.safetensors")


def tokenizer_values(**parts: Any) -> dict[str, Any]:
    """Return a tokenizer.json of three ids."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "model": model, **parts}


def write_records(path: Path, prompts: list[str], *, reference: str | None = "yes") -> None:
    lines = [{"prompt": prompt, **({"reference": reference} if reference else {})} for prompt in prompts]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
