"""The estimates in the README are those of its manifests in the pools of examples/settings.yaml."""

import datetime
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kubedistill.cli.estimate import find_machines, render_estimate
from kubedistill.manifest.loading import load_manifest
from kubedistill_runtime.estimate.estimate import estimate_stages
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.pipeline import LocalRun
from kubedistill_runtime.records import Message, Record, Split
from kubedistill_runtime.storage.store import Store
from support.job_folder import write_records
from support.local_hub import LocalHub, serve_hub
from support.loopback_hub import use, use_empty_cache
from support.messages import WRITE
from support.published_sizes import push_models

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
COUNTS: dict[str, dict[Split, int]] = {
    "deepseek-v3-to-phi-4-mini": {"train": 48_000, "validation": 1_000, "test": 1_000},
    "llama-405b-to-3b": {"train": 50_000, "validation": 1_000, "test": 2_000},
}
"""Records of each job, as the README says; those of the first are 50,000 before the others are held out."""
QUESTION = "my card was charged twice for the same order and the refund has not arrived " * 12


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with pytest.MonkeyPatch.context() as monkeypatch, serve_hub() as hub:
        use_empty_cache(tmp_path_factory.mktemp("cache"), monkeypatch)
        use(hub.address, monkeypatch)
        push_models(hub)
        yield hub


def estimate_example(name: str, folder: Path) -> list[str]:
    """Return the lines that the command prints for an example with as many records as the README says."""
    job = load_manifest(ROOT / "examples" / name / "job.yaml")
    for split in ("conversations", "train", "test"):
        write_records(folder / f"{split}.jsonl", ["a question"])
    run = LocalRun(job, folder, Store(folder / "store"), today=datetime.date(2026, 11, 28), gpus=())
    machines = find_machines(job, ROOT / "examples" / "settings.yaml")
    stage_job = run.stage_job("Prepare", attempt=1, keys={}).model_copy(update=dict(machines))
    record = Record("a", (Message("user", QUESTION),))

    def read(split: Split) -> Sequence[Record]:
        return [record] * COUNTS[name][split]

    choices = resolve(stage_job, store=run.store)
    return render_estimate(estimate_stages(stage_job, choices, read=read, store=run.store))


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("name", COUNTS)
def test_the_readme_has_the_estimate_of_its_manifest(name: str, tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    shown = re.findall(r"^```\n( +tokens .*?)^```", text, re.DOTALL | re.MULTILINE)[list(COUNTS).index(name)]
    lines = "".join(f"{line}\n" for line in estimate_example(name, tmp_path))
    if os.environ.get(WRITE):
        README.write_text(text.replace(shown, lines, 1), encoding="utf-8")
        return
    assert lines == shown, f"{WRITE}=1 writes it again"
