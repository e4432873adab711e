"""What a job of another tenant shows on a terminal: a real API server that holds its texts, and a real pty (T2)."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedistill.cli.app import main
from kubedistill.printing import printable
from support.control_plane import ControlPlane
from support.kube_api import Api, wait_for
from support.kubelet_logs import node_with_logs, pod_on
from support.played_cluster import with_namespace
from support.sample_reports import change, make_values
from support.small_manifests import distillation_job
from support.stored_release import put_object
from support.terminals import Shown, call_on_terminal, run_on_terminal

pytestmark = pytest.mark.own_plane
JOBS = "kubedistill.io/v1alpha1/DistillationJob"
PROGRAM = str(Path(sys.executable).parent / "kubedistill")
HOSTILE = "x\x1b]0;PWNED\x07\x1b[2J\x1b[1A\x1b[2K\x1b[31m\x9b31m\rALL\n✓ Train SUCCEEDED\u202e\x7f"
"""Sets the title, clears the screen, goes up a line and erases it, turns red, forges a line and turns text around."""
SHOWN = r"x\u001b]0;PWNED\u0007\u001b[2J\u001b[1A\u001b[2K\u001b[31m\u009b31m\rALL\n✓ Train SUCCEEDED\u202e\u007f"
FORGED = "✓ Train SUCCEEDED"
SIZES = {"wide": (24, 200), "usual": (24, 80), "narrow": (8, 24)}
FAILED = {
    "type": "Failed", "status": "True", "reason": "UserCodeError", "message": HOSTILE,
    "lastTransitionTime": "2026-11-27T00:00:00Z",
}  # fmt: skip
RUN = {"id": "1", "digest": "d", "startedAt": "2026-11-25T00:00:00Z"}
TRAIN = {"name": "Train", "state": "Failed", "attempt": 1, "reason": "UserCodeError", "message": HOSTILE}
STATUS = {
    "phase": "Failed", "run": RUN, "stages": [TRAIN], "conditions": [FAILED], "message": HOSTILE, "stage": "Train",
    "result": {"teacherAccuracy": 0.9, "baselineAccuracy": 0.4, "distilledAccuracy": 0.8, "gatePassed": False},
}  # fmt: skip


@pytest.fixture
def environment(kubeconfig: Path, namespace: str, tmp_path: Path) -> dict[str, str]:
    """Return a person's shell."""
    config = with_namespace(kubeconfig, namespace, folder=tmp_path)
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CI")}
    return plain | {"TERM": "xterm-256color", "KUBECONFIG": str(config)}


@pytest.fixture
def hostile_job(control_plane: ControlPlane, api: Api, namespace: str) -> dict[str, Any]:
    """Return a job that was stored before the CRD refused its texts, and has failed."""
    job: dict[str, Any] = api.create(distillation_job("evil"), namespace=namespace)
    spec = job["spec"]
    spec["task"]["labels"] = [HOSTILE, "b"]
    spec["teachers"][0]["model"]["source"] = spec["student"]["model"]["source"] = HOSTILE
    put_object(control_plane, {**job, "status": STATUS})
    wait_for(
        lambda: api.get(JOBS, "evil", namespace=namespace).get("status"), what="the API server shows what is in etcd"
    )
    return api.get(JOBS, "evil", namespace=namespace)


@pytest.fixture
def hostile_event(api: Api, namespace: str, hostile_job: dict[str, Any]) -> None:
    """What anybody who may create Events can say of it."""
    about = {"kind": "DistillationJob", "name": "evil", "namespace": namespace, "uid": hostile_job["metadata"]["uid"]}
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "evil.1"}, "involvedObject": about,
        "type": HOSTILE, "reason": HOSTILE, "message": HOSTILE, "lastTimestamp": "2026-11-27T00:00:00Z",
    }  # fmt: skip
    api.create(event, namespace=namespace)


@pytest.fixture
def hostile_log(api: Api, namespace: str, hostile_job: dict[str, Any], tmp_path: Path) -> Iterator[None]:
    """What its driver says, at a node of its own."""
    line = {"at": HOSTILE, "level": HOSTILE, "message": HOSTILE, "traceback": HOSTILE}
    node = f"node-{namespace}"
    labels = {"job-uid": hostile_job["metadata"]["uid"], "stage": "Train", "attempt": "1"}
    with node_with_logs(api, node, folder=tmp_path, logs={"evil/driver": f"{json.dumps(line)}\nplain {HOSTILE}\n"}):
        marks = {f"kubedistill.io/{name}": value for name, value in labels.items()}
        api.create(pod_on(node, "evil", labels=marks, container="driver"), namespace=namespace)
        yield


@pytest.fixture
def hostile_store(namespace: str, tmp_path: Path) -> Path:
    """Return its report and its log, where its store is mounted."""
    folder = tmp_path / "store" / f"runs/{namespace}.evil/1"
    (folder / "train-1").mkdir(parents=True)
    (folder / "train-1" / "driver.log").write_text(json.dumps({"message": HOSTILE}) + f"\n{HOSTILE}\n")
    values = change(
        make_values(), gate={"passed": False, "reasons": [HOSTILE]}, comparison__measure=HOSTILE,
        arms__teacher__hardware=HOSTILE,
    )  # fmt: skip
    (folder / "report.json").write_text(json.dumps(values))
    return tmp_path / "store"


COMMANDS = (
    "get", "get -A", "get -o wide", "get -A -o wide", "get evil", "get evil -o wide", "get -o name", "get -o json",
    "get evil -o yaml", "watch evil", "logs evil", "logs evil -f", "logs evil --json", "logs evil --stage train",
    "logs evil --store STORE", "events evil", "events evil -o json", "report evil", "report evil --store STORE",
    "report evil --store STORE -o json",
)  # fmt: skip
TELLING = ("get -o wide", "events evil")
PICTURES = ("get evil", "watch evil")


@pytest.fixture
def call(environment: dict[str, str], hostile_store: Path) -> Iterator[Callable[..., Shown]]:
    """Call a command on a terminal, in this process: sixty starts of Python would take minutes."""

    def run(line: str, *, rows: int, columns: int) -> Shown:
        arguments = [str(hostile_store) if word == "STORE" else word for word in line.split()]

        def command() -> int:
            with pytest.raises(SystemExit) as left:
                main()
            return int(left.value.code or 0)

        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("NO_COLOR", raising=False)
            for name, value in (environment | {"COLUMNS": str(columns), "LINES": str(rows)}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["kubedistill", *arguments])
            return call_on_terminal(command, rows=rows, columns=columns)

    return run


@pytest.mark.usefixtures("hostile_event", "hostile_log")
@pytest.mark.parametrize("size", SIZES)
def test_no_command_has_the_terminal_obey_a_string_of_a_job(size: str, call: Callable[..., Shown]) -> None:
    rows, columns = SIZES[size]
    for line in COMMANDS:
        shown = call(line, rows=rows, columns=columns)
        assert printable(shown.text) == shown.text, line
        assert shown.returncode == (1 if line.startswith("watch") else 0), (line, shown)
        if size == "wide" and not line.startswith("logs"):
            assert not [one for one in shown.text.splitlines() if one.startswith(FORGED)], "a line is forged"
        if line in TELLING:
            assert SHOWN in "".join(shown.text.splitlines()), "what would be obeyed is shown as escapes"
        if line in PICTURES:
            assert "\x1b[" in shown.raw, "it was a terminal that it drew on"


def test_ctrl_c_ends_a_watch_and_restores_the_terminal(api: Api, namespace: str, environment: dict[str, str]) -> None:
    api.create(distillation_job("waits"), namespace=namespace)
    status = {"phase": "Preparing", "message": "x\u202e", "run": RUN}
    api.patch(JOBS, "waits", {"status": status}, namespace=namespace, subresource="status")
    shown = run_on_terminal([PROGRAM, "watch", "waits"], environment, columns=60, interrupt="Preparing")
    assert shown.returncode == 130, shown
    assert printable(shown.text) == shown.text
    assert shown.raw.rindex("\x1b[?25h") > shown.raw.rindex("\x1b[?25l"), "the cursor is shown again"
    assert f"To follow it again: `kubedistill watch waits -n {namespace}`" in " ".join(shown.text.split())
