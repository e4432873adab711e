"""The files of deploy/argocd: made from the scripts that are tested, and about things that are there."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubedistill.v1alpha1 import GROUP, KIND

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "argocd"
APPLICATIONS = sorted(FOLDER.glob("application*.yaml"))


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.mark.parametrize("name", ["argocd-cm.yaml", "argocd-operator.yaml"])
def test_file_is_made_from_the_scripts(name: str) -> None:
    made = runpy.run_path(str(FOLDER / "build.py"))["files"]()
    assert (FOLDER / name).read_text() == made[name], "run `python deploy/argocd/build.py`"


def test_config_map_holds_the_scripts_as_they_are() -> None:
    data = read("argocd-cm.yaml")["data"]
    health, actions = (data[f"resource.customizations.{what}.{GROUP}_{KIND}"] for what in ("health", "actions"))
    assert health == (FOLDER / "health.lua").read_text()
    told = yaml.safe_load(actions)
    scripts = {"discovery": told["discovery.lua"]} | {one["name"]: one["action.lua"] for one in told["definitions"]}
    assert scripts == {path.stem: path.read_text() for path in (FOLDER / "actions").iterdir()}


def test_the_operators_form_says_the_same() -> None:
    data, spec = read("argocd-cm.yaml")["data"], read("argocd-operator.yaml")["spec"]
    ours = {"group": GROUP, "kind": KIND}
    assert spec["resourceHealthChecks"] == [{**ours, "check": data[f"resource.customizations.health.{GROUP}_{KIND}"]}]
    assert spec["resourceActions"] == [{**ours, "action": data[f"resource.customizations.actions.{GROUP}_{KIND}"]}]


@pytest.mark.parametrize("path", APPLICATIONS, ids=lambda path: path.stem)
def test_application_names_what_is_there(path: Path) -> None:
    for one in yaml.safe_load_all(path.read_text()):
        template = one["spec"].get("template", one)["spec"]
        assert template["syncPolicy"]["automated"] == {"prune": True, "selfHeal": True}
        source = template["source"]
        if source["path"].startswith("charts/"):
            values = yaml.safe_load((ROOT / source["path"] / "values.yaml").read_text())
            assert source["helm"]["valuesObject"].keys() <= values.keys()
        else:
            options = template["syncPolicy"]["syncOptions"]
            assert {"SkipDryRunOnMissingResource=true", "PruneLast=true"} <= set(options)
            assert not [option for option in options if "Replace" in option], "it would stop running jobs"
