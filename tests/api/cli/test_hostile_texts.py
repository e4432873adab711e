"""A job of another tenant, full of terminal control sequences: what each command shows of it."""

import ast
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.live import Live
from rich.text import Text

import kubedistill
from kubedistill.cli.app import main
from kubedistill.cli.picture import picture
from kubedistill.cli.terminal import Terminal
from kubedistill.client import api_server
from kubedistill.client.job import read_job
from kubedistill.client.request import Request
from kubedistill.errors import Rejected
from kubedistill.printing import printable
from support.terminals import call_on_terminal

HOSTILE = "x\x1b]0;PWNED\x07\x1b[2J\x9b31m\rALL\nSUCCEEDED\u202e\x7f"
SHOWN = r"x\u001b]0;PWNED\u0007\u001b[2J\u009b31m\rALL\nSUCCEEDED\u202e\u007f"
ROOT = Path(kubedistill.__file__).parents[2]
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u, namespace: team-a}}]
users: [{name: u, user: {}}]
current-context: c
"""
COLUMNS = [{"name": name, "priority": wide} for name, wide in (("Name", 0), ("Phase", 0), ("Teacher", 1))]
EVENT = {"type": "Warning", "reason": "WriteRefused", "message": HOSTILE, "lastTimestamp": "2026-11-27T00:00:00Z"}
LOG = json.dumps({"level": "ERROR", "message": HOSTILE, "traceback": HOSTILE}) + f"\nplain {HOSTILE}\n"


@pytest.fixture
def hostile_job(job_values: dict[str, Any]) -> dict[str, Any]:
    """Return a job as an earlier CRD stored it, that has failed."""
    job_values["spec"]["teachers"][0]["model"]["source"] = HOSTILE
    stage = {"name": "Train", "state": "Failed", "attempt": 1, "reason": "UserCodeError", "message": HOSTILE}
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "UserCodeError",
        "message": HOSTILE,
        "lastTransitionTime": "2026-11-27T00:00:00Z",
    }
    run = {"id": "1", "digest": "d", "startedAt": "2026-11-25T00:00:00Z"}
    metadata = {**job_values["metadata"], "namespace": "team-a", "uid": "u-1", "resourceVersion": "1", "generation": 1}
    status = {
        "phase": "Failed",
        "run": run,
        "stages": [stage],
        "conditions": [failed],
        "message": HOSTILE,
        "result": {"distilledAccuracy": 0.8, "gatePassed": False},
    }
    return {**job_values, "metadata": metadata, "status": status}


@pytest.fixture(autouse=True)
def _server(hostile_job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose every answer is about that job."""

    class Server:
        def __init__(self, _access: object) -> None:
            self.row = {"cells": ["support", "Failed", HOSTILE], "object": {"metadata": {"namespace": "team-a"}}}

        def send(self, request: Request) -> Any:
            if request.verb == "apply":
                raise Rejected(f"spec: {HOSTILE}", at=HOSTILE)
            answers: dict[str, Any] = {
                "get": hostile_job,
                "merge": hostile_job,
                "log": LOG,
                "watch": [],
                "table": {"columnDefinitions": COLUMNS, "rows": [self.row]},
            }
            pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "driver"}]}}
            items = {"Event": [{**EVENT, "metadata": {}}], "Pod": [pod], "DistillationJob": [hostile_job]}
            return answers[request.verb] if request.verb in answers else {"items": items[request.kind]}

        def watch(self, _request: Request) -> Iterator[Any]:
            yield from ()

        def close(self) -> None:
            """There is nothing to let go of."""

    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(api_server, "ApiServer", Server)


COMMANDS = {
    "get": 2, "get -A": 2, "get -o wide": 2, "get support": 4, "get -o json": None, "get -o yaml": None,
    "get support -o json": None, "get support -o yaml": None, "watch support": 3, "logs support": None,
    "logs support --json": 4, "events support": 2, "report support": 8, "suspend support": 1, "submit job.yaml": 0,
}  # fmt: skip
"""Commands, and how many lines they print to standard output ; None where texts may have lines of their own."""


@pytest.mark.parametrize("line", COMMANDS)
def test_nothing_that_a_command_prints_is_obeyed(line: str, manifest: str, called: Callable[..., Any]) -> None:
    done = called(*line.split())
    printed = done.stdout + done.stderr
    assert printable(printed) == printed
    assert COMMANDS[line] in (None, len(done.stdout.splitlines())), "no line is forged"


@pytest.mark.parametrize("line", ["get -o wide", "get support", "watch support", "events support", "submit job.yaml"])
def test_what_would_be_obeyed_is_shown_as_escapes(line: str, manifest: str, called: Callable[..., Any]) -> None:
    done = called(*line.split())
    shown = "".join((done.stdout + done.stderr).split())
    assert SHOWN in shown or SHOWN.replace(r"\n", "") in shown


@pytest.mark.parametrize("columns", [24, 200])
def test_nothing_is_obeyed_on_a_terminal_of_any_width(
    columns: int, manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave() -> int:
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", str(columns))):
        monkeypatch.setenv(name, value)
    for line in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["kubedistill", *line.split()])
        shown = call_on_terminal(leave, columns=columns)
        assert printable(shown.text) == shown.text, line
        assert ("\x1b[" in shown.raw) or line not in ("get support", "watch support"), "they draw on a terminal"


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_machines_are_told_what_is_stored(form: str, called: Callable[..., Any], hostile_job: dict[str, Any]) -> None:
    from ruamel.yaml import YAML

    printed = called("get", "support", "-o", form).stdout
    values = json.loads(printed) if form == "json" else YAML(typ="safe", pure=True).load(printed)
    assert values["status"]["message"] == hostile_job["status"]["message"] == HOSTILE
    assert values["spec"]["teachers"][0]["model"]["source"] == HOSTILE


def test_raw_lines_of_a_log_stay_json(called: Callable[..., Any]) -> None:
    first, *_ = called("logs", "support", "--json").stdout.splitlines()
    assert json.loads(first)["message"] == HOSTILE


@pytest.mark.parametrize("drawn", ["picture", "text", "markup"])
def test_a_terminal_that_is_drawn_on_obeys_rich_alone(drawn: str, hostile_job: dict[str, Any]) -> None:
    shown = {"picture": picture(read_job(hostile_job)), "text": Text(HOSTILE), "markup": f"[bold]{HOSTILE}[/]"}[drawn]
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=True, width=200, color_system="standard")
    with Live(console=console, auto_refresh=False) as live:
        live.update(shown, refresh=True)
    own = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue()).replace("\r", "")
    assert printable(own) == own
    assert "\\u001b[2J" in own


PRINTERS = {"kubedistill/cli/output.py", "kubedistill/cli/terminal.py", "kubedistill_operator/__main__.py"}
"""The modules that may print: all others ask them."""
MACHINES = {
    "kubedistill/schema/crd.py", "kubedistill/schema/reference.py", "kubedistill_operator/telemetry/logs.py",
    "kubedistill_operator/loop/replica.py", "kubedistill_runtime/__main__.py",
}  # fmt: skip
"""Modules that write what is generated, or JSON, which has escapes of its own."""


def prints(tree: ast.Module) -> bool:
    """Return whether a module writes to the terminal by itself."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return bool({"print", "Console"} & names or {"typer.echo", "typer.secho", "sys.stdout", "sys.stderr"} & attributes)


def test_only_the_filter_prints() -> None:
    found = {
        str(path.relative_to(ROOT / root))
        for root in ("api", "operator", "runtime")
        for path in (ROOT / root).rglob("*.py")
        if prints(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found >= PRINTERS
    assert found <= PRINTERS | MACHINES
