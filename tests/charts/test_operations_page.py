"""docs/operations.md says what is so; that the audit policy shows its table is tried in tests/cluster/test_audit.py."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from kubedistill import __version__
from kubedistill.contract import CONTRACT
from kubedistill.contract.stored_status import RENAMES
from kubedistill.manifest.settings import Settings
from kubedistill_operator.__main__ import app
from make_chart import images as chart_images
from support.chart_sets import Render, pods
from support.kubernetes_binaries import kubernetes_version
from support.prometheus import promtool

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
GOLDEN = ROOT / "tests" / "operator" / "children" / "golden"
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a table's rows, without its heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.removeprefix("v").split(".")[:2])


def test_versions_that_go_together_are_those_of_the_code() -> None:
    table = {part: (versions, shown) for part, versions, shown in rows(section("Version compatibility"))}
    chart = yaml.safe_load((ROOT / "charts" / "kubedistill" / "Chart.yaml").read_text(encoding="utf-8"))
    umbrella = yaml.safe_load((ROOT / "charts" / "kubedistill-with-kuberay" / "Chart.yaml").read_text(encoding="utf-8"))
    (kuberay,) = [one["version"] for one in umbrella["dependencies"] if one["name"] == "kuberay-operator"]
    least = minor(chart["kubeVersion"].removeprefix(">="))
    tested = minor(kubernetes_version())
    assert table["Kubernetes"] == (f"{least[0]}.{least[1]} or newer", f"tests run on {tested[0]}.{tested[1]}")
    assert table["KubeRay"][0] == ".".join(map(str, minor(kuberay)))
    assert Settings().ray_version in table["Ray in the runtime image"][0]
    assert table["operator"][0].startswith(f"{__version__},")
    assert table["runtime image"][0] == f"contract {CONTRACT}"


def test_stored_forms_are_kept_for_two_minor_versions() -> None:
    text = section("Compatibility of stored data")
    folders = sorted(
        folder.name for folder in (ROOT / "tests" / "upgrade").iterdir() if (folder / "crd.yaml").is_file()
    )
    assert f"as a release wrote it: {', '.join(folders)}." in text
    own = minor(__version__)
    wanted = [f"{own[0]}.{number}" for number in range(max(1, own[1] - 2), own[1])]
    assert set(wanted) <= set(folders), "record_release.py records each version that must stay readable"
    assert all(own[1] - minor(rename.since)[1] <= 2 for rename in RENAMES), "names that are older go"


def test_the_query_of_costs_is_one(tmp_path: Path) -> None:
    (query,) = [block for block in BLOCKS if "distillation_job_labels" in block]
    rules = {"groups": [{"name": "costs", "rules": [{"record": "team:gpus", "expr": query}]}]}
    (tmp_path / "rules.yaml").write_text(json.dumps(rules))
    assert "SUCCESS" in promtool("check", "rules", tmp_path / "rules.yaml")


def printed(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["images", *arguments])
    assert done.exit_code == 0
    return done.stdout.splitlines()


def test_images_are_all_that_an_installation_and_its_jobs_pull(render: Render) -> None:
    found = printed()
    assert found == list(chart_images().values())
    own = {one["image"] for _, spec in pods(render()) for one in spec["containers"]}
    golden = "".join(file.read_text(encoding="utf-8") for file in GOLDEN.iterdir())
    jobs = set(re.findall(r"^ *-? ?image: (\S+)$", golden, re.MULTILINE))
    assert own <= set(found)
    assert len(jobs) >= 2
    assert jobs <= set(found) | {image for image in jobs if image.startswith("registry.")}, "or as a scenario names it"
    (command,) = [block for block in BLOCKS if "kubectl exec" in block]
    assert command.split(" -- ")[1].split()[:2] == ["kubedistill-operator", "images"]


REGISTRIES = {
    "a mirror": ({"registry": "mirror.example.com/x"}, "mirror.example.com/x/kubedistill/runtime:0.1.0"),
    "an image with a registry": (
        {"runtime": "own.example.com/r:1", "registry": "mirror.example.com"},
        "own.example.com/r:1",
    ),
    "one image for both": ({"runtime": "r:1", "runtimeCpu": "r:1"}, "r:1"),
}


@pytest.mark.parametrize("case", REGISTRIES)
def test_images_are_named_as_the_settings_name_them(case: str, tmp_path: Path) -> None:
    values, image = REGISTRIES[case]
    (tmp_path / "settings.yaml").write_text(json.dumps({"images": values}))
    found = printed("--config", str(tmp_path / "settings.yaml"))
    assert image in found
    assert len(found) == len(set(found)) == (2 if case == "one image for both" else 3)


def level_of(policy: dict[str, Any], verb: str, group: str, resource: str) -> str:
    """Return the level of the first rule that matches, as kube-apiserver finds it."""
    for rule in policy["rules"]:
        here = any(one["group"] == group and resource in one["resources"] for one in rule["resources"])
        if here and verb in rule["verbs"]:
            return str(rule["level"])
    return "None"


def test_no_secret_and_no_content_of_a_configmap_is_audited() -> None:
    policy = yaml.safe_load((ROOT / "deploy" / "audit" / "policy.yaml").read_text(encoding="utf-8"))
    for verb in ("get", "create", "update", "patch"):
        assert level_of(policy, verb, "", "secrets") == "None"
        assert level_of(policy, verb, "", "configmaps") in ("None", "Metadata")
    assert level_of(policy, "patch", "kubedistill.io", "distillationjobs") == "Request"


def test_every_section_that_the_platform_team_was_promised_is_there() -> None:
    assert {line.removeprefix("## ") for line in PAGE.splitlines() if line.startswith("## ")} >= {
        "Version compatibility",
        "Compatibility of stored data",
        "GPU limits per namespace without Kueue",
        "Cost attribution",
        "Air-gapped installation",
        "Permissions and audit",
    }
    for setting in ("maxGpusPerNamespace", "propagateLabels", "policy"):
        assert setting in json.dumps(Settings.model_json_schema())
        assert setting in PAGE
