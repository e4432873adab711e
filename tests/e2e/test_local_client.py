"""The Python client on this machine, with the real runtime: the snippet of docs/python.md, word for word."""

import re
from pathlib import Path
from typing import Any

import pytest

from kubedistill.report.models import Report
from kubedistill.report.table import headline, table_lines
from support.small_job import make_job

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"


def test_a_job_runs_on_this_machine_and_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_job(tmp_path / "quickstart")
    monkeypatch.chdir(tmp_path)
    (snippet,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
        if "Client.local" in block
    ]
    names: dict[str, Any] = {}
    exec(compile(snippet, str(DOCUMENT), "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["teacher", "before", "distilled", "against", "teacher"]
    path = tmp_path / "quickstart" / ".kubedistill" / "runs" / "default.small" / "local" / "report.json"
    report = Report.model_validate_json(path.read_bytes())
    shown = table_lines(report)
    for line, row in zip(shown, lines[1 : 1 + len(shown)], strict=True):
        assert row.split() == " ".join([line.name, line.teacher, line.baseline, line.distilled, line.change]).split()
    assert lines[-1] == f"{headline(report)}."
