"""What `make chart` writes is what is there, and says what the models say."""

import tomllib
from pathlib import Path

import yaml

from chart_values import Values
from kubedistill import __version__
from kubedistill.manifest.settings import Settings
from kubedistill.schema.crd import crd
from make_chart import files, with_table
from support.chart_sets import CHART, Manifest, of_kind, only
from support.helm import Helm

ROOT = Path(__file__).parents[2]


def test_all_made_files_are_up_to_date() -> None:
    stale = [name for name, text in files().items() if (CHART / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make chart`"


def test_the_defaults_of_the_file_are_those_of_the_model() -> None:
    written = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert Values.model_validate(written, strict=False) == Values()
    assert Settings.model_validate(written["settings"], strict=False) == Settings()


def test_the_table_has_a_row_for_a_value_deep_down() -> None:
    table = with_table("before\n<!-- values: made by `make chart` -->\nold\n<!-- end of values -->\nafter\n")
    assert table.startswith("before\n<!-- values")
    assert table.endswith("<!-- end of values -->\nafter\n")
    assert "\nold\n" not in table
    assert "\n| `settings.pools.<name>.gpusPerNode` | `8` | GPUs per node, 0 to 64; 0 for a pool of " in table
    assert '\n| `settings.pools.<name>.tolerations[].key` | `""` |' in table
    assert "\n| `livenessProbe.initialDelaySeconds` | `15` |" in table


def test_the_rendered_crd_is_the_one_that_the_models_make(helm: Helm) -> None:
    found = only(helm.template(), "CustomResourceDefinition")
    del found["metadata"]["labels"], found["metadata"]["annotations"]
    assert found == crd()


def test_the_full_role_is_that_of_deploy(helm: Helm) -> None:
    def rules(manifests: list[Manifest]) -> dict[str, list[Manifest]]:
        roles = of_kind(manifests, "Role") + of_kind(manifests, "ClusterRole")
        return {one["metadata"]["name"].rpartition(".")[2]: one["rules"] for one in roles}

    theirs = rules([one for file in (ROOT / "deploy" / "rbac").glob("*.yaml") for one in read(file)])
    namespaces = theirs.pop("kubedistill-operator-namespaces")
    ours = rules(helm.template())
    propagating = rules(helm.template(values={"settings": {"propagateLabels": ["team"]}}))
    assert propagating == {**ours, "kubedistill-operator": ours["kubedistill-operator"] + namespaces}
    assert {name: ours[name] for name in theirs} == theirs
    assert ours.keys() - theirs.keys() == {"kubedistill-view", "kubedistill-edit"}


def test_chart_package_and_images_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {chart["version"], str(chart["appVersion"]), project["version"]} == {__version__}


def read(path: Path) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
