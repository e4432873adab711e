"""The fragments of manifests in the user guide are valid in a job."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubedistill.manifest.loading import load_manifest
from kubedistill.v1alpha1 import Spec, spec_values
from support.child_scenarios import read_spec

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
FIELDS = {field.alias or name for name, field in Spec.model_fields.items()}


def fragments() -> list[dict[str, Any]]:
    """Return the YAML blocks that are parts of a spec."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    values = [value for block in blocks if isinstance(value := yaml.safe_load(block), dict)]
    return [value.get("spec", value) for value in values if value.get("spec", value).keys() <= FIELDS]


@pytest.mark.parametrize("fragment", fragments(), ids="-".join)
def test_fragment_is_valid_in_a_job(fragment: dict[str, Any]) -> None:
    quickstart = spec_values(load_manifest(ROOT / "examples" / "quickstart" / "job.yaml").spec)
    read_spec({**quickstart, **fragment})


def test_the_guide_has_fragments_about_teachers() -> None:
    teachers = [fragment["teachers"] for fragment in fragments() if "teachers" in fragment]
    assert [len(some) for some in teachers] == [1, 4]
