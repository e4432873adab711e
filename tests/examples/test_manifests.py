from pathlib import Path

import pytest
from ruamel.yaml import YAML

from generator.vocabulary import load_vocabulary
from kubedistill.v1alpha1.job import DistillationJob


def load_job(path: Path) -> DistillationJob:
    return DistillationJob.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")), strict=False)


@pytest.mark.parametrize("name", ["quickstart", "conversation", "qa"])
def test_manifest_is_valid_and_its_files_exist(name: str, examples: Path):
    folder = examples / name
    job = load_job(folder / "job.yaml")
    spec = job.spec
    assert job.metadata.name == name
    sources = [spec.teachers[0].model.source, spec.student.model.source]
    assert all((folder / source / "config.json").is_file() for source in sources)
    uris = [spec.data.train.uri, spec.data.validation.uri, spec.data.test.uri]
    assert all((folder / uri).is_file() for uri in uris)


def test_quickstart_lists_every_label(examples: Path):
    assert load_job(examples / "quickstart" / "job.yaml").spec.task.labels == load_vocabulary().labels
