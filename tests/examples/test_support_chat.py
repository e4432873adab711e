"""The support case study: the README's manifest on models and data that one machine runs, and its page."""

import re
from pathlib import Path

from kubedistill.manifest.loading import load_manifest

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "examples" / "support-chat" / "job.yaml"
PAGE = (ROOT / "docs" / "case-study.md").read_text(encoding="utf-8")


def test_the_job_is_that_of_the_readme_on_small_models() -> None:
    small, large = (
        load_manifest(path) for path in (MANIFEST, ROOT / "examples" / "deepseek-v3-to-phi-4-mini" / "job.yaml")
    )
    assert small.metadata.name == large.metadata.name
    assert small.spec.task == large.spec.task
    assert small.spec.evaluation == large.spec.evaluation
    assert small.spec.training.objective == large.spec.training.objective
    for spec in (small.spec, large.spec):
        assert (spec.data.validation, spec.data.test) == (None, None), "both are held out"


def test_the_page_runs_this_job_and_shows_the_table_of_a_report() -> None:
    assert "kubedistill run examples/support-chat/job.yaml" in PAGE
    rows = [line.split("|")[1].strip() for line in re.findall(r"^\| .+\|$", PAGE, re.MULTILINE)]
    measured = {"parameters", "memory", "time per answer", "chrf", "answers per hour", "cost per 1,000 answers"}
    assert measured <= {*rows}
