from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from generator.vocabulary import load_vocabulary
from kubedistill.chain import CHAIN
from kubedistill.manifest.loading import load_manifest
from kubedistill.manifest.settings import Settings
from kubedistill.manifest.settings_file import load_settings
from kubedistill.placement.layout import lay_out
from kubedistill.v1alpha1.job import DistillationJob
from kubedistill.v1alpha1.task import TaskType

EXAMPLES = Path(__file__).parents[2] / "examples"
JOBS = sorted(path.parent.name for path in EXAMPLES.glob("*/job.yaml"))


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(EXAMPLES / "settings.yaml")


def load_job(path: Path) -> DistillationJob:
    return DistillationJob.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")), strict=False)


@pytest.mark.parametrize("name", ["quickstart", "conversation", "qa", "math", "summarization", "tickets"])
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


def test_every_kind_of_task_has_an_example(examples: Path):
    tasks = {load_manifest(examples / name / "job.yaml").spec.task.type for name in JOBS}
    assert tasks == set(get_args(TaskType))


@pytest.mark.parametrize("name", JOBS)
def test_the_pools_of_the_settings_can_hold_every_stage(name: str, examples: Path, settings: Settings):
    job = load_manifest(examples / name / "job.yaml")
    for stage in CHAIN:
        layout = lay_out(
            stage.name,
            job.spec,
            namespace=job.metadata.namespace or "default",
            pools=settings.pools,
            resources=settings.cpu_resources,
        )
        assert layout.gpus <= 64


@pytest.mark.parametrize(
    ("name", "gpus"), [("deepseek-v3-to-phi-4-mini", 16), ("llama-405b-to-3b", 16), ("kueue", 8), ("spot-pool", 8)]
)
def test_a_teacher_holds_the_gpus_that_its_manifest_speaks_of(name: str, gpus: int, examples: Path, settings: Settings):
    spec = load_manifest(examples / name / "job.yaml").spec
    layout = lay_out("Generate", spec, namespace="x", pools=settings.pools, resources=settings.cpu_resources)
    assert layout.gpus == gpus


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        (
            "kueue/queues.yaml",
            ["ResourceFlavor", "ResourceFlavor", "ClusterQueue", "LocalQueue", "WorkloadPriorityClass"],
        ),
        ("workload-identity/account.yaml", ["ServiceAccount", "PersistentVolume", "PersistentVolumeClaim"]),
    ],
)
def test_objects_next_to_a_job_fit_it(path: str, kinds: list[str], examples: Path):
    objects = list(YAML(typ="safe").load_all((examples / path).read_text()))
    assert [one["kind"] for one in objects] == kinds
    named = {one["kind"]: one["metadata"]["name"] for one in objects}
    spec = load_manifest((examples / path).with_name("job.yaml")).spec
    if "LocalQueue" in kinds:
        assert (named["LocalQueue"], named["WorkloadPriorityClass"]) == (spec.queue.name, spec.queue.priority_class)
    else:
        claim = objects[-1]
        assert (named["ServiceAccount"], claim["metadata"]["name"]) == (
            spec.pods.service_account_name,
            spec.storage.volume_claim,
        )
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
