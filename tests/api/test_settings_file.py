"""The settings door: what a platform team writes is taken whole, or refused with line, field and fix."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from kubedistill.manifest.settings import Settings
from kubedistill.manifest.settings_file import InvalidSettings, load_settings
from support.messages import CheckMessage

ROOT = Path(__file__).parents[2]
GOOD = """\
pools:
  h100:
    nodeSelector: {gpu: h100}
    gpusPerNode: 8
    pricePerGpuHour: 2.5e0
    tolerations:
    - {key: nvidia.com/gpu, operator: Exists}
nodeLostSeconds: 120
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("settings.yaml")


def test_settings_come_as_they_are_written(path: Path) -> None:
    path.write_text(GOOD)
    settings = load_settings(path)
    assert settings.pools["h100"].price_per_gpu_hour == 2.5
    assert settings.pools["h100"].tolerations[0].operator == "Exists"
    assert settings.node_lost_seconds == 120
    assert settings.resync_seconds == Settings().resync_seconds, "what is not written takes its default"


@pytest.mark.parametrize("uri", ["s3://b/all", "s3://b/all/_shared/ab", "s3://b/all-of-them", "file:///elsewhere"])
def test_a_store_may_be_shared_where_no_namespace_has_its_own(uri: str, path: Path) -> None:
    """The root itself too: what version 0.1 kept there for all namespaces can be used on by those that are named."""
    path.write_text(f"storage: {{uri: s3://b/all, shared: [{{uri: {uri}, namespaces: [a, b]}}]}}\n")
    assert load_settings(path).storage.shared[0].uri == uri


def test_no_settings_are_the_defaults(path: Path) -> None:
    path.write_text("{}")
    assert load_settings(path) == Settings()


REFUSED = {
    "typo": ("resyncSecond: 5\n", "1: resyncSecond: unknown field `resyncSecond`. Did you mean `resyncSeconds`?"),
    "typo in a pool": (
        "pools:\n  a100:\n    nodeSelector: {a: b}\n    gpuPerNode: 4\n",
        "4: pools.a100.gpuPerNode: unknown field `gpuPerNode`. Did you mean `gpusPerNode`?",
    ),
    "wrong type": ("port: high\n", '1: port: input should be a valid integer, and it is "high". Write a whole number'),
    "out of range": ("nodeLostSeconds: 0\n", "1: nodeLostSeconds: input should be greater than or equal to 1, and"),
    "unknown choice": (
        "submissionMode: HttpMode\n",
        "1: submissionMode: \"HttpMode\" is not one of 'HTTPMode' or 'K8sJobMode'. Did you mean HTTPMode?",
    ),
    "pool without nodes": (
        "pools:\n  a100: {gpusPerNode: 4}\n",
        "1: pools.a100.nodeSelector is required for a pool with GPUs. Name a label of its nodes",
    ),
    "a namespace with two stores": (
        "storage: {shared: [{uri: s3://b/x, namespaces: [a, b]}, {uri: s3://b/y, namespaces: [b]}]}\n",
        "1: storage: storage.shared[1] and shared[0] both have b. Name it in one of them",
    ),
    "one store twice": (
        "storage: {shared: [{uri: s3://b/x, namespaces: [a]}, {uri: s3://b/x/, namespaces: [b]}]}\n",
        "1: storage: storage.shared[1] and shared[0] both have s3://b/x. Name it in one of them",
    ),
    "a shared store in that of a namespace": (
        "storage: {uri: s3://b/all/, shared: [{uri: s3://b/all/team-a/more, namespaces: [a, b]}]}\n",
        "1: storage: storage.shared[0].uri is in the store of namespace team-a. Name a folder",
    ),
    "a store that nobody shares": (
        "storage: {shared: [{uri: s3://b/x, namespaces: []}]}\n",
        "1: storage.shared[0].namespaces: ",
    ),
    "a field by its Python name": ("node_lost_seconds: 5\n", "1: node_lost_seconds: unknown field `node_lost_seconds`"),
    "values of the chart": (
        "replicas: 2\nsettings:\n  port: 8081\n",
        "2: settings: these are the values of the Helm chart, of which `settings` has the operator's settings. Check",
    ),
    "no YAML": ("pools: [\n", "2: not valid YAML ("),
    "not a mapping": ("- a\n", ": the document is not a mapping. Write `field: value` lines; `{}` uses all defaults"),
    "empty": ("", ": the file is empty. Write one mapping of settings; `{}` uses all defaults"),
    "two problems": ("port: 0\nresyncSeconds: 0\n", "\nsettings.yaml:1: port: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_settings_are_refused_with_place_and_fix(case: str, path: Path) -> None:
    text, expected = REFUSED[case]
    path.write_text(text)
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path)
    message = str(caught.value)
    assert message.startswith("settings.yaml:")
    assert expected in message
    assert caught.value.exit_code == 2


def test_the_page_makes_values_of_the_chart_from_the_settings_of_the_examples(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "platform.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\(echo settings:.+$", page, re.MULTILINE)
    values = tmp_path / "values.yaml"
    subprocess.run(["sh", "-c", command.replace("values.yaml", str(values))], cwd=ROOT, check=True)
    settings = (ROOT / "examples" / "settings.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(values.read_text(encoding="utf-8")) == {"settings": yaml.safe_load(settings)}


def test_a_file_that_is_not_there_is_named(path: Path, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path)
    check_message(caught.value, "settings.yaml")
