"""docs/cluster.md shows what `make demo-cluster` runs, and names what it can't."""

import re
from pathlib import Path

import yaml

from kubedistill.chain import CHAIN
from kubedistill.manifest.loading import load_manifest
from kubedistill.manifest.settings import Settings
from kubedistill.placement.layout import lay_out
from kubedistill.placement.quantities import number
from kubedistill_operator.children.pods import image_of
from kubedistill_operator.cluster.status_writing import status_values
from support.demo_cluster import COMMANDS
from support.fake_cluster import FakeCluster
from support.job_states import work

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "examples" / "quickstart" / "cluster"
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
NEEDS_A_NODE = ("kubectl apply -f examples/quickstart/cluster/files.yaml", "kubectl cp ", "kubectl delete pod files")
"""Copying files needs a pod that runs; the player's pods are processes, and files are put where they see them."""


def test_the_page_shows_the_commands_of_the_demo_in_their_order() -> None:
    shown = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)
    assert [command for command in shown if not command.startswith(NEEDS_A_NODE)] == list(COMMANDS)
    assert len(shown) > len(COMMANDS)


def test_the_page_names_no_place_of_the_machine_that_it_was_made_on() -> None:
    assert str(ROOT) not in PAGE
    assert "build/demo-cluster/claim" not in PAGE


def test_the_page_describes_all_fields_of_a_run_and_of_a_stage() -> None:
    cluster = FakeCluster()
    name = work(cluster, "Train")
    cluster.result(name, message="1,500 steps")
    cluster.end_child(name)
    cluster.complete_stage("Evaluate")
    cluster.complete_stage("Export")
    status = status_values(cluster.status)
    train = next(stage for stage in status["stages"] if stage["name"] == "Train")
    run, stage = (
        re.search(rf"^  {title}:\n(?P<lines>(?:    .+\n)+)", PAGE, re.MULTILINE) for title in ("Run", "Stages")
    )
    assert run is not None
    assert stage is not None
    assert _described(run["lines"]) == {_title(name) for name in status["run"]}
    assert _described(stage["lines"]) == {_title(name) for name in train.keys() - {"pool", "gpus"}}, "it needs no GPU"


def _described(lines: str) -> set[str]:
    """Return the names of fields of one level, as `kubectl describe` writes them."""
    return set(re.findall(r"^    (\w[\w ]*):", lines, re.MULTILINE))


def _title(name: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return words[:1].upper() + words[1:]


def test_files_that_the_page_names_exist() -> None:
    named = set(re.findall(r"examples/quickstart/[\w./-]+", PAGE))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_stage_of_the_quickstart_fits_the_page_and_needs_no_gpu_image() -> None:
    values = yaml.safe_load((CLUSTER / "values.yaml").read_text(encoding="utf-8"))
    settings = Settings.model_validate(values["settings"], by_alias=True)
    spec = load_manifest(CLUSTER.parent / "job.yaml").spec
    for stage in CHAIN:
        layout = lay_out(stage.name, spec, namespace="default", pools={}, resources=settings.cpu_resources)
        sites = [layout.driver, *(group.placement for group in layout.groups for _ in range(group.pods))]
        assert sum(number(site.cpu) for site in sites) <= 1
        assert sum(number(site.memory) for site in sites) <= 8 * 2**30
        assert image_of(settings.images, layout) == settings.images.runtime_cpu
    assert "1 core and 8 GiB" in PAGE


def test_files_are_copied_as_the_user_and_group_that_jobs_run_as() -> None:
    (pod,) = yaml.safe_load_all((CLUSTER / "files.yaml").read_text(encoding="utf-8"))
    ours = Settings().pod_security_context.model_dump(by_alias=True)
    assert pod["spec"]["securityContext"].items() >= ours.items()
