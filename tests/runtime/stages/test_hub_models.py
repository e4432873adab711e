"""Models of the hub in each stage: in pods that share only the store, each downloads what it uses."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import deserialize

from kubedistill.chain import CHAIN, ArtifactName, StageName
from kubedistill_runtime.chat import ChatFormat
from support.job_folder import QUICKSTART, make_job_folder
from support.local_hub import LocalHub, serve_hub
from support.loopback_hub import use, use_empty_cache
from support.stage_runner import StageRunner

NAMES = {"teacher": "organization/teacher", "student": "organization/student"}
HEADER = 100_000
"""Bytes of a file of weights that are read for its header."""
LOADS: dict[StageName, set[str]] = {
    "Prepare": set(), "Generate": {"teacher"}, "Curate": set(), "Train": {"student"}, "Evaluate": {"student"},
    "Export": set(),
}  # fmt: skip
"""The models whose weights a stage loads."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    use_empty_cache(tmp_path / "cache", monkeypatch)
    with serve_hub() as hub:
        use(hub.address, monkeypatch)
        for role, name in NAMES.items():
            files = {path.name: path.read_bytes() for path in (QUICKSTART / "student").iterdir()}
            weights = files.pop("model.safetensors")
            places = dict.fromkeys((name for name, _ in deserialize(weights)), f"model-{role}.safetensors")
            index = json.dumps({"metadata": {"total_size": len(weights)}, "weight_map": places}).encode()
            more = {f"model-{role}.safetensors": weights, "model.safetensors.index.json": index}
            hub.repository(name).push(files | more | {"consolidated.safetensors": weights})
        yield hub


def test_a_stage_downloads_only_the_weights_that_it_loads(
    hub: LocalHub, tmp_path: Path, chat: ChatFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_folder = make_job_folder(tmp_path)
    job_folder.set("teachers.0.model.source", f"hf://{NAMES['teacher']}")
    job_folder.set("student.model.source", f"hf://{NAMES['student']}")
    job_folder.set("generation.maxTokens", 24)
    job_folder.set("training.epochs", 1)
    runner, size = StageRunner(job_folder, chat), (QUICKSTART / "student" / "model.safetensors").stat().st_size
    keys: dict[ArtifactName, str] = {}
    for stage in CHAIN:
        use_empty_cache(tmp_path / stage.name, monkeypatch)
        if stage.name == "Train":
            for name in NAMES.values():
                hub.repository(name).push({"config.json": b"{}"})
        hub.reset()
        outcome = runner.work_on(job_folder.stage_job(stage.name, keys=keys))
        keys = outcome.keys or keys
        for role in NAMES:
            read = HEADER + 1 if stage.name == "Prepare" else 0
            assert hub.sent.pop(f"model-{role}.safetensors", 0) in range(read + 1) or role in LOADS[stage.name]
            loaded = (tmp_path / stage.name).glob(f"*{role}/snapshots/*/*{role}.safetensors")
            assert [file.stat().st_size for file in loaded] == ([size] if role in LOADS[stage.name] else [])
        assert sum(hub.sent.values()) < 200_000, "configuration and tokenizer"
