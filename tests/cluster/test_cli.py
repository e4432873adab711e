"""`kubectl distill` as its user has it: a real API server, an operator with its own rights, and played children."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubedistill.cli.app import main
from kubedistill.report.models import Report
from support.inherited_signals import INHERITED
from support.kube_api import Api, wait_for
from support.kubelet_logs import node_with_logs, pod_on
from support.messages import check_facts
from support.played_cluster import played_cluster, with_namespace
from support.sample_reports import make_values
from support.small_manifests import distillation_job
from support.terminals import run_on_terminal

JOBS = "kubedistill.io/v1alpha1/DistillationJob"
BIN = Path(sys.executable).parent
PLUGIN = ["kubectl", "distill"] if shutil.which("kubectl") else [str(BIN / "kubectl-distill")]
DOCUMENT = Path(__file__).parents[2] / "docs" / "kubectl.md"
STAGES = ("Prepare", "Generate", "Curate", "Train", "Evaluate", "Export")
Completed = subprocess.CompletedProcess[str]
Distill = Callable[..., Completed]


def manifest(folder: Path, name: str, **spec: Any) -> str:
    """Return a manifest of the quickstart's job with its own name; the path of its file."""
    job = distillation_job(name)
    job["spec"] |= {"data": {"train": {"uri": "train.jsonl"}}, **spec}
    job["metadata"]["labels"] = {"team": "a"}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(job))
    return str(path)


@pytest.fixture
def environment(kubeconfig: Path, namespace: str, tmp_path: Path) -> dict[str, str]:
    """Return where kubectl finds the plugin, the cluster and the namespace."""
    config = with_namespace(kubeconfig, namespace, folder=tmp_path)
    plain = {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "120", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return os.environ | plain | {"KUBECONFIG": str(config)}


@pytest.fixture
def distill(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Distill:
    """Call `kubectl distill` with arguments, in this process: twenty starts of Python would take minutes."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **more: str) -> Completed:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (environment | more).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["kubectl-distill", *arguments])
            with pytest.raises(SystemExit) as left:
                main()
        out, err = capsys.readouterr()
        return Completed(arguments, left.value.code, out, err)

    return run


@pytest.fixture
def carried_out(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, namespace: str, tmp_path: Path
) -> Iterator[None]:
    """The jobs of the namespace are carried out."""
    with played_cluster(
        api, kubeconfig=kubeconfig, operator_kubeconfig=operator_kubeconfig, namespace=namespace, folder=tmp_path
    ):
        yield


def phase(api: Api, name: str, namespace: str) -> str:
    job = api.get(JOBS, name, namespace=namespace) or {}
    return (job.get("status") or {}).get("phase", "")


@pytest.mark.usefixtures("carried_out")
def test_a_job_is_submitted_followed_shown_and_run_again(
    distill: Distill, api: Api, namespace: str, tmp_path: Path
) -> None:
    file = manifest(tmp_path, "ok-1")
    dry = distill("submit", file, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "distillationjob.kubedistill.io/ok-1 created (server dry run)\n")
    assert api.get(JOBS, "ok-1", namespace=namespace) is None
    assert distill("submit", file).stdout == "distillationjob.kubedistill.io/ok-1 created\n"
    assert api.get(JOBS, "ok-1", namespace=namespace)["metadata"]["labels"] == {"team": "a"}
    assert distill("submit", file).stdout == "distillationjob.kubedistill.io/ok-1 unchanged\n"

    watched = distill("watch", "ok-1")
    assert watched.returncode == 0, watched
    lines = watched.stdout.splitlines()
    assert lines[0] == f"{namespace}/ok-1: Classification, teacher → student, run 1"
    check_facts(lines[-1], "ok-1 succeeded", f"`kubectl distill report ok-1 -n {namespace}`")
    ended = [line.split()[0] for line in lines if re.match(r"\w+ +Succeeded in \d+s", line)]
    assert ended == list(STAGES)
    assert not [line for line in lines if line.startswith("Pending")]

    assert distill("get", "-o", "name").stdout == "distillationjob.kubedistill.io/ok-1\n"
    assert json.loads(distill("get", "ok-1", "-o", "json").stdout)["status"]["phase"] == "Succeeded"
    assert "managedFields" not in yaml.safe_load(distill("get", "ok-1", "-o", "yaml").stdout)["metadata"]
    listed = json.loads(distill("get", "-A", "-o", "json").stdout)
    assert (listed["kind"], [one["kind"] for one in listed["items"]]) == ("List", ["DistillationJob"])
    head, row = distill("get").stdout.splitlines()
    assert head.split() == ["NAME", "PHASE", "STAGE", "PROGRESS", "ATTEMPT", "QUEUE", "AGE"]
    assert row.split()[:2] == ["ok-1", "Succeeded"]
    assert distill("get", "ok-1", "-o", "wide").stdout.split()[7:9] == ["TEACHER", "STUDENT"]
    shown = distill("get", "ok-1").stdout
    assert all(re.search(rf"✓ {name}\b", shown) for name in STAGES)

    # Events are written after the status that they report.
    wait_for(lambda: "RunSucceeded" in distill("events", "ok-1").stdout, what="the end is an event")
    told = distill("events", "ok-1").stdout.splitlines()
    assert told[0].split() == ["AGE", "TYPE", "REASON", "MESSAGE"]
    assert [line.split()[2] for line in told].count("StageSucceeded") == len(STAGES)
    check_facts(distill("rerun", "ok-1").stdout, "distillationjob.kubedistill.io/ok-1", "rerun")
    again = distill("watch", "ok-1")
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, lines[-1])
    history = json.loads(distill("get", "ok-1", "-o", "json").stdout)["status"]["runHistory"]
    assert [(run["id"], run["outcome"]) for run in history] == [("1", "Succeeded")]


@pytest.mark.usefixtures("carried_out")
def test_reports_and_logs_are_read_from_a_mounted_store_or_else_located(
    distill: Distill, api: Api, namespace: str, tmp_path: Path
) -> None:
    storage = {"uri": "file:///kubedistill/storage/a", "volumeClaim": "shared"}
    assert distill("submit", manifest(tmp_path, "ok-2", storage=storage), "--watch").returncode == 0
    key = next(
        one["key"]
        for one in api.get(JOBS, "ok-2", namespace=namespace)["status"]["run"]["artifacts"]
        if one["name"] == "report"
    )
    far = distill("report", "ok-2")
    assert far.returncode == 0
    assert "accuracy    90.0%   30.0%      84.0%         93% kept" in far.stdout
    page = f"/kubedistill/storage/a/artifacts/report/{key}/report.html"
    check_facts(far.stdout, f"file://{page}", "claim shared")
    assert json.loads(distill("report", "ok-2", "-o", "json").stdout)["distilledAccuracy"] == 0.84
    silent = distill("logs", "ok-2", "--stage", "train")
    assert silent.returncode == 2
    check_facts(silent.stderr, f"file:///kubedistill/storage/a/runs/{namespace}.ok-2/1/train-1/driver*.log")

    store = tmp_path / "mounted"
    (store / f"artifacts/report/{key}").mkdir(parents=True)
    (store / f"artifacts/report/{key}/report.json").write_text(json.dumps(make_values()))
    (store / f"runs/{namespace}.ok-2/1/train-1").mkdir(parents=True)
    line = {"at": "2026-11-25T10:11:12.5Z", "level": "INFO", "message": "stage started"}
    (store / f"runs/{namespace}.ok-2/1/train-1/driver.log").write_text(f"{json.dumps(line)}\nplain\n")
    near = distill("report", "ok-2", "--store", str(store))
    assert f"Report: {store}/artifacts/report/{key}/report.html" in near.stdout
    assert "parameters" in near.stdout
    shown = json.loads(distill("report", "ok-2", "--store", str(store), "-o", "json").stdout)
    assert shown["schemaVersion"] == 1
    assert Report.model_validate(shown) == Report.model_validate(make_values())
    kept = distill("logs", "ok-2", "--stage", "Train", "--store", str(store))
    assert (kept.returncode, kept.stdout) == (0, "10:11:12 INFO stage started\nplain\n")
    assert distill("logs", "ok-2", "--stage", "Train", "--store", str(store), "--json").stdout.startswith('{"at"')
    assert distill("logs", "ok-2", "--stage", "Train", "--store", str(store), "-f").stdout == kept.stdout
    unopened = distill("report", "ok-2", "--open")
    assert unopened.returncode == 2
    check_facts(unopened.stderr, "open", f"file://{page}", "claim shared")


def test_logs_are_read_from_a_drivers_pod(distill: Distill, api: Api, namespace: str, tmp_path: Path) -> None:
    distill("submit", manifest(tmp_path, "support"))
    job = api.get(JOBS, "support", namespace=namespace)
    run = {"id": "1", "digest": "d", "startedAt": "2026-11-25T00:00:00Z"}
    stages = [{"name": "Prepare", "state": "Running", "attempt": 2}]
    status = {"phase": "Preparing", "run": run, "stages": stages}
    api.patch(JOBS, "support", {"status": status}, namespace=namespace, subresource="status")
    labels = {"kubedistill.io/job-uid": job["metadata"]["uid"], "kubedistill.io/stage": "Prepare"}
    pods = {"old": ("1", "driver"), "new": ("2", "driver"), "worker": ("2", "student")}
    node = f"node-{namespace}"
    texts = {f"{name}/{container}": f"I am {name}\n" for name, (_, container) in pods.items()}
    with node_with_logs(api, node, folder=tmp_path, logs=texts):
        for name, (attempt, container) in pods.items():
            marks = {**labels, "kubedistill.io/attempt": attempt}
            api.create(pod_on(node, name, labels=marks, container=container), namespace=namespace)
        read = distill("logs", "support")
    assert (read.returncode, read.stdout) == (0, "I am new\n"), read
    assert read.stderr == "Prepare, pod new, container driver:\n"


@pytest.mark.usefixtures("carried_out")
def test_a_job_is_suspended_resumed_edited_and_cancelled(
    distill: Distill, api: Api, namespace: str, tmp_path: Path
) -> None:
    def reaches(*phases: str) -> None:
        what = f"the job is {phases}"
        wait_for(lambda: phase(api, "slow-1", namespace) in phases, what=what, seconds=120)

    assert distill("submit", manifest(tmp_path, "slow-1"), "-o", "name").returncode == 0
    reaches("Preparing")
    assert distill("suspend", "slow-1").stdout == "distillationjob.kubedistill.io/slow-1 suspended\n"
    reaches("Suspended")
    waiting = distill("watch", "slow-1", "--timeout", "2")
    assert (waiting.returncode, waiting.stdout.splitlines()[-1]) == (1, "Suspended: spec.suspend is true")
    assert waiting.stderr.startswith(f"WaitTimeout: {namespace}/slow-1: ")
    check_facts(waiting.stderr, "Suspended", 2)
    assert distill("resume", "slow-1").stdout == "distillationjob.kubedistill.io/slow-1 resumed\n"
    reaches("Preparing")
    edited = distill("submit", manifest(tmp_path, "slow-1", training={"epochs": 1}))
    assert edited.stdout == "distillationjob.kubedistill.io/slow-1 configured\n"
    check_facts(edited.stderr, "Run 1", f"`kubectl distill rerun slow-1 -n {namespace}`")
    assert distill("cancel", "slow-1").stdout == "distillationjob.kubedistill.io/slow-1 cancelled\n"
    ended = distill("watch", "slow-1")
    assert ended.returncode == 1
    assert ended.stdout.splitlines()[-1].startswith("slow-1 failed: Cancelled: ")
    over = distill("cancel", "slow-1")
    assert (over.returncode, "cancelled" in over.stdout) == (0, False)


@pytest.mark.usefixtures("carried_out")
def test_a_failed_gate_is_exit_code_3(distill: Distill, tmp_path: Path) -> None:
    ended = distill("submit", manifest(tmp_path, "gate-failed-1"), "--watch")
    assert ended.returncode == 3
    last = ended.stdout.splitlines()[-1]
    assert last.startswith("gate-failed-1 failed: EvaluationGate: ")
    check_facts(last, 0.05, "minGain", 0.1)


def test_kubectl_finds_the_plugin(environment: dict[str, str], namespace: str) -> None:
    said = subprocess.run([*PLUGIN, "get"], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == ""
    check_facts(said.stderr, namespace)


def test_an_interrupted_watch_says_that_the_job_continues(
    distill: Distill, environment: dict[str, str], namespace: str, tmp_path: Path
) -> None:
    distill("submit", manifest(tmp_path, "support"))
    process = subprocess.Popen(
        [*INHERITED["ignored"], *PLUGIN, "watch", "support"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"{namespace}/support")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    check_facts(said, f"`kubectl distill watch support -n {namespace}`")


@pytest.mark.usefixtures("carried_out")
def test_on_a_terminal_the_stages_are_drawn(environment: dict[str, str], tmp_path: Path) -> None:
    file = manifest(tmp_path, "ok-3")
    shown = run_on_terminal([*PLUGIN, "submit", file, "--watch"], environment | {"TERM": "xterm"})
    assert shown.returncode == 0, shown.raw
    assert "\x1b[" in shown.raw
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.raw)
    last = plain[plain.rindex("ok-3: Classification") :].splitlines()
    assert last[1].strip() == "Succeeded"
    assert [line.split()[:2] for line in last[2:8]] == [["✓", name] for name in STAGES]
    assert last[-1].startswith("ok-3 succeeded.")


MISTAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no such job": (("get", "none"), ("NoSuchJob", '"none"', '"{namespace}"', "kubectl distill")),
    "no such job to watch": (("watch", "none"), ("NoSuchJob", '"none"')),
    "no such job to steer": (("suspend", "none"), ("NoSuchJob", '"none"')),
    "no such context": (("get", "--context", "x"), ("NoCluster", '"x"', "--context", "kubedistill-tests")),
    "no such kubeconfig": (("get", "--kubeconfig", "/none"), ("NoCluster", "/none")),
    "no such manifest": (("submit", "none.yaml"), ("InvalidManifest", "none.yaml")),
    "no such namespace": (("submit", "job.yaml", "-n", "none"), ("Rejected", '"none"')),
    "no such stage": (("logs", "none", "--stage", "Sleep"), ("'prepare', 'generate'",)),
    "a name that is too long": (("submit", "long.yaml"), ("metadata.name",)),
}
"""What is asked, and what the message names."""


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_message_and_exit_code_2(case: str, distill: Distill, namespace: str, tmp_path: Path) -> None:
    manifest(tmp_path, "job")
    long = distillation_job("a" * 33)
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(long))
    arguments, named = MISTAKES[case]
    refused = distill(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    check_facts(refused.stderr, *(one.format(namespace=namespace) for one in named))
    assert "Traceback" not in refused.stderr


def test_a_missing_permission_is_reported(
    distill: Distill, api: Api, namespace: str, tmp_path: Path, account_kubeconfig: Callable[..., Path]
) -> None:
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "guest"}}, namespace=namespace)
    guest = str(account_kubeconfig("guest", namespace=namespace))
    refused = distill("get", "-n", namespace, KUBECONFIG=guest)
    assert refused.returncode == 2
    assert refused.stderr.startswith("NotAllowed: distillationjobs.kubedistill.io is forbidden: User ")


def test_a_server_that_is_away_is_said_with_exit_code_1(
    distill: Distill, environment: dict[str, str], tmp_path: Path
) -> None:
    values = json.loads(Path(environment["KUBECONFIG"]).read_text())
    values["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "away").write_text(json.dumps(values))
    refused = distill("get", KUBECONFIG=str(tmp_path / "away"))
    assert (refused.returncode, refused.stdout) == (1, "")
    check_facts(refused.stderr, "ClusterUnavailable", "https://127.0.0.1:1", "Connection refused")


def test_fields_of_another_manager_are_taken_over_by_force_alone(
    distill: Distill, api: Api, namespace: str, tmp_path: Path
) -> None:
    file = manifest(tmp_path, "support", training={"epochs": 3})
    api.apply(yaml.safe_load(Path(file).read_text()), namespace=namespace, manager="argocd")
    file = manifest(tmp_path, "support", training={"epochs": 4})
    refused = distill("submit", file)
    assert refused.returncode == 2
    assert 'conflict with "argocd"' in refused.stderr
    assert distill("submit", file, "--force-conflicts").stdout.endswith("support configured\n")


def test_the_shell_completes_commands_and_names_of_jobs(
    environment: dict[str, str], distill: Distill, tmp_path: Path
) -> None:
    distill("submit", manifest(tmp_path, "support"))

    def complete(*words: str) -> list[str]:
        command = [str(BIN / "kubectl_complete-distill"), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()

    assert complete("su") == ["submit", "suspend", ":4"]
    assert complete("watch", "su") == ["support", ":4"]
    assert complete("watch", "--time") == ["--timeout", ":4"]
    assert complete("submit", "./") == [":0"]
    assert complete("watch", "--kubeconfig", "/none", "su") == [":0"]


@pytest.mark.usefixtures("carried_out")
def test_every_command_of_the_document_works(distill: Distill, tmp_path: Path) -> None:
    Path(manifest(tmp_path, "support")).rename(tmp_path / "job.yaml")
    blocks = re.findall(r"```\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("kubectl distill ")]
    assert len(lines) >= 15
    for line in lines:
        _, _, *arguments = shlex.split(line)
        done = distill(*arguments)
        # No kubelet is there and no store is mounted: then logs says where they are kept.
        assert done.returncode == (2 if arguments[0] == "logs" else 0), (line, done)
