"""The small examples run to their end as they are; the quickstart is the demo, and benchmarks/demo.py measures it."""

import json
from pathlib import Path
from typing import Any

from kubedistill.report.models import Report
from kubedistill.report.table import NOT_KNOWN, table_lines
from kubedistill_runtime.answers import decode_answers
from support.small_job import QUICKSTART, run_job


def report_of(name: str, store: Path) -> dict[str, Any]:
    ended = run_job(QUICKSTART.parent / name / "job.yaml", store)
    assert ended.code == 0, ended.stderr[-3000:]
    (student,) = ended.events[-1]["exports"]
    assert (Path(student) / "model.safetensors").is_file()
    return json.loads(Path(ended.events[-1]["report"]["json"]).read_text())


def test_conversation_speaks_in_turns_and_is_judged_by_agreement(store: Path) -> None:
    report = report_of("conversation", store)
    assert report["comparison"]["measure"] == "agreement with the teacher"
    assert report["arms"]["distilled"]["accuracy"] is None
    answers = [answer for shard in store.glob("rows/*/*.parquet") for answer in decode_answers(shard.read_bytes())]
    assert max(len(answer.turns) for answer in answers) > 1


def test_a_task_of_its_own_has_a_template_and_valid_answers(store: Path) -> None:
    report = report_of("tickets", store)
    assert report["comparison"]["measure"] == "exactMatch"
    assert report["arms"]["teacher"]["invalidRate"] == 0
    assert report["arms"]["distilled"]["accuracy"] is not None


def test_math_is_learned_from_given_solutions_and_judged_by_their_final_answers(store: Path) -> None:
    report = report_of("math", store)
    assert report["comparison"]["measure"] == "mathMatch"
    assert report["arms"]["distilled"]["accuracy"] is not None


def test_the_support_case_study_shows_what_a_report_measures(store: Path) -> None:
    """The table of docs/case-study.md; a price is only known where one is stated."""
    report = report_of("support-chat", store)
    lines = {line.name: line for line in table_lines(Report.model_validate(report))}
    for name in ("parameters", "memory", "time per answer", "chrf", "answers per hour"):
        cells = (lines[name].teacher, lines[name].baseline, lines[name].distilled)
        assert NOT_KNOWN not in cells, name
    arms, compared = report["arms"], report["comparison"]
    assert compared["verdict"] == "better"
    assert arms["distilled"]["accuracy"] > arms["baseline"]["accuracy"] + 0.1
    assert arms["distilled"]["parameters"] < arms["teacher"]["parameters"] / 8
    assert report["gate"]["passed"] is True
