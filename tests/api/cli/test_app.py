"""The command line as a whole: exit codes, standard output and standard error."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubedistill.cli.run import default_store
from kubedistill.contract import CONTRACT
from kubedistill.v1alpha1 import DistillationJob
from support.inherited_signals import INHERITED
from support.messages import CheckMessage

SAY = "def say(**event): print(json.dumps(event), flush=True)\n"
NOTE = {"contract": CONTRACT, "event": "note"}
COMMANDS = ("init", "validate", "preview", "estimate", "run", "version")

USAGE_ERRORS = {
    "unknown option": (("validate", "--fast", "job.yaml"), "No such option: --fast"),
    "no manifest": (("validate",), "Missing argument"),
    "two manifests": (("validate", "a", "b"), "unexpected extra argument"),
    "a price below zero": (("run", "job.yaml", "--teacher-price", "-1"), "--teacher-price"),
    "a price that is not a number": (("run", "job.yaml", "--student-price", "cheap"), "--student-price"),
}


@pytest.mark.parametrize("case", USAGE_ERRORS)
def test_usage_error_is_2(case: str, called: Callable) -> None:
    arguments, problem = USAGE_ERRORS[case]
    refused = called(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert problem in refused.stderr


def test_unknown_command_is_2_without_a_traceback(kubedistill: Callable) -> None:
    refused = kubedistill("destil")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "'destil'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_bad_manifest_is_2(kubedistill: Callable, tmp_path: Path, check_message: CheckMessage) -> None:
    (tmp_path / "job.yaml").write_text("kind: Job")
    refused = kubedistill("validate", "job.yaml")
    assert (refused.returncode, refused.stdout) == (2, "")
    check_message(refused.stderr, "InvalidManifest", "job.yaml:1", "Job", "DistillationJob")


def test_good_manifest_is_0(kubedistill: Callable, manifest: str) -> None:
    checked = kubedistill("validate", "--quick", manifest)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "job.yaml: support is valid\n", "")


def test_without_a_command_there_is_help(kubedistill: Callable) -> None:
    shown = kubedistill()
    assert shown.returncode == 2
    assert all(name in shown.stdout + shown.stderr for name in COMMANDS)


def test_help_names_every_option_of_run(kubedistill: Callable) -> None:
    shown = kubedistill("run", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    for option in ("--store", "--configmap", "--teacher-price", "--student-price", "--rehash", "--update", "--json"):
        assert option in shown.stdout
    assert "--verbose" in shown.stdout


@pytest.mark.parametrize("name", ["--rehash", "--update"])
@pytest.mark.parametrize("given", [False, True])
def test_a_switch_reaches_the_runtime(
    name: str, *, given: bool, called: Callable, manifest: str, runtime: Callable
) -> None:
    runtime(f"{SAY}say(event='failed', reason='Told', message=str({name!r} in sys.argv), exitCode=1)")
    assert called("run", manifest, *([name] if given else [])).stderr == f"Told: {given}\n"


@pytest.mark.parametrize("arguments", [("run",), ("run", "--json"), ("preview",)])
def test_a_missing_runtime_is_reported_with_the_way_to_get_it(
    arguments: tuple[str, ...], manifest: str, tmp_path: Path, check_message: CheckMessage
) -> None:
    script = "import sys; sys.modules['vllm'] = None; from kubedistill.cli.app import main; main()"
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments, manifest], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    told, silent = (run.stdout, run.stderr) if "--json" in arguments else (run.stderr, run.stdout)
    check_message(told, "make setup")
    assert silent == ""


@pytest.mark.parametrize(("code", "option"), [(0, ()), (3, ()), (75, ("--json",))])
def test_exit_code_is_that_of_the_run(
    code: int,
    option: tuple[str, ...],
    kubedistill: Callable,
    manifest: str,
    runtime: Callable,
    check_message: CheckMessage,
) -> None:
    runtime(f"{SAY}say(event='failed', reason='Why', message='because [of]', exitCode={code})")
    ended = kubedistill("run", manifest, *option)
    assert ended.returncode == code
    if option:
        assert json.loads(ended.stdout) == {
            "contract": CONTRACT,
            "event": "failed",
            "reason": "Why",
            "message": "because [of]",
            "exitCode": code,
        }
        assert ended.stderr == ""
    else:
        check_message(ended.stderr)


@pytest.mark.parametrize("inherited", INHERITED)
def test_death_of_the_runtime_is_exit_code_1(
    inherited: str, kubedistill: Callable, manifest: str, runtime: Callable, check_message: CheckMessage
) -> None:
    runtime("os.kill(os.getpid(), signal.SIGKILL)")
    ended = kubedistill("run", manifest, before=INHERITED[inherited])
    assert ended.returncode == 1
    check_message(ended.stderr, "RuntimeDied", "SIGKILL")


@pytest.mark.parametrize(("option", "told"), [((), "stderr"), (("--json",), "stdout")])
def test_failed_preview_tells_why(
    option: tuple[str, ...], told: str, kubedistill: Callable, manifest: str, runtime: Callable
) -> None:
    runtime(f"{SAY}say(event='failed', reason='InvalidData', message='no [records]', exitCode=2)")
    ended = kubedistill("preview", manifest, *option)
    assert ended.returncode == 2
    assert "no [records]" in getattr(ended, told)
    assert (ended.stdout if told == "stderr" else ended.stderr) == ""


def test_preview_marks_what_is_scored(kubedistill: Callable, manifest: str, runtime: Callable) -> None:
    pieces = [("user: hi [/b]", False, False), ("hello", True, False), ("<end>", True, True)]
    records = [
        {
            "id": "a[/]",
            "tokens": 5,
            "overlong": 0,
            "pieces": [{"text": text, "scored": scored, "end": end} for text, scored, end in pieces],
        }
    ]
    asked = {
        "validation": {"id": "v[1]", "prompt": "user: [/b]", "references": []},
        "test": {"id": "t", "prompt": "user: yo", "references": ["hey", "[hi]"]},
    }
    event = {
        "contract": CONTRACT,
        "event": "preview",
        "records": records,
        "objective": "Sequence",
        "objectiveReason": "tokenizers [differ]",
        "asked": asked,
        "notes": ["train: [one] note"],
    }
    runtime(f"{SAY}say(**{event!r})")
    shown = kubedistill("preview", manifest)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == (
        "objective Sequence (tokenizers [differ])\n\na[/] 5 tokens\nuser: hi [/b][[hello]][[<end>]]\n\n"
        "v[1] validation prompt, compared with nothing, since there is no reference\nuser: [/b]\n\n"
        "t test prompt, compared with 'hey' or '[hi]'\nuser: yo\nnote: train: [one] note\n\n"
        "The loss is computed on the text that is in [[ ]].\n"
    )
    assert json.loads(kubedistill("preview", manifest, "--json").stdout) == event


ESTIMATE = {
    "stages": [
        {"stage": "Generate", "tokens": 12_800_000, "seconds": 7_815, "gpuHours": 34.7, "dollars": 1156.2},
        {"stage": "Train", "tokens": 900, "seconds": 95.4, "gpuHours": 0, "dollars": None},
        {"stage": "Evaluate", "reused": True},
    ],
    "diskBytes": 3 * 2**30,
    "downloadBytes": 641 * 2**30,
    "assumptions": ["answers [are] labels"],
}
TABLE = """\
          tokens        time  GPU hours   dollars
Generate   12.8M  2 h 10 min       34.7  1,156.20
Train        900  1 min 35 s        0.0         -
Evaluate  reused
all        12.8M  2 h 11 min       34.7         -
disk: 3 GiB in the store; downloads: 641 GiB
assumed: answers [are] labels
"""


def test_an_estimate_is_a_table_with_its_sum_and_assumptions(
    kubedistill: Callable, manifest: str, runtime: Callable
) -> None:
    runtime(f"{SAY}say(event='estimate', contract={CONTRACT}, estimate={ESTIMATE!r})")
    shown = kubedistill("estimate", manifest)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, TABLE, "")
    assert json.loads(kubedistill("estimate", manifest, "--json").stdout)["diskBytes"] == 3 * 2**30


SETTINGS = """
pools:
  h100: {nodeSelector: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}, pricePerGpuHour: 3}
"""


def test_an_estimate_for_a_cluster_has_the_hardware_and_the_prices_of_its_pools(
    kubedistill: Callable, tmp_path: Path, manifest: str, runtime: Callable
) -> None:
    text = (tmp_path / manifest).read_text()
    (tmp_path / manifest).write_text(text.replace("source: teacher}", "source: teacher}, resources: {pool: h100}"))
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    runtime(f"{SAY}say(event='failed', reason='Told', message=sys.argv[sys.argv.index('--machines') + 1], exitCode=1)")
    ended = kubedistill("estimate", manifest, "--settings", "settings.yaml", "--json")
    machines = json.loads(json.loads(ended.stdout)["message"])
    assert machines["hardware"]["Generate"]["accelerator"] == "NVIDIA-H100-80GB-HBM3"
    assert machines["prices"]["teacher"] == 3
    assert machines["pools"]["teacher"] == "h100"


def test_runtime_gets_store_prices_and_config_maps(kubedistill: Callable, manifest: str, runtime: Callable) -> None:
    runtime(f"{SAY}say(event='failed', reason='Told', message=json.dumps(sys.argv[1:]), exitCode=1)")
    ended = kubedistill("run", manifest, "--json", "--store", "s", "--configmap", "a=b", "--teacher-price", "2.5")
    assert json.loads(json.loads(ended.stdout)["message"]) == [
        "--bound-to-parent",
        "--manifest",
        "job.yaml",
        "--store",
        "s",
        "--configmap",
        "a=b",
        "--prices",
        '{"teacher":2.5}',
    ]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [(None, "{here}/.kubedistill"), ("file:///kept%20here", "/kept here"), ("s3://bucket", "{here}/.kubedistill")],
)
def test_store_is_the_manifests_folder_or_one_next_to_it(
    uri: str | None, expected: str, job_values: dict, tmp_path: Path
) -> None:
    job_values["spec"]["storage"] = {"uri": uri} if uri else {}
    job = DistillationJob.model_validate_json(json.dumps(job_values))
    assert default_store(job, tmp_path / "job.yaml") == expected.format(here=tmp_path)


@pytest.fixture
def running(
    request: pytest.FixtureRequest, command: Path, manifest: str, tmp_path: Path, runtime: Callable
) -> Iterator[subprocess.Popen[str]]:
    """Yield a run in a session of its own that has printed its first line and runs for a minute."""
    inherited = INHERITED[getattr(request, "param", "default")]
    note = "say(event='note', message='x' * 9999)"
    runtime(f"{SAY}say(event='note', message='')\nfor n in range(600): time.sleep(0.1); {note}")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    arguments = [*inherited, command, "run", manifest, "--json"]
    with subprocess.Popen(arguments, cwd=tmp_path, start_new_session=True, **pipes) as process:
        assert json.loads(process.stdout.readline()) == NOTE | {"message": ""}
        yield process
        process.kill()


@pytest.mark.parametrize("running", INHERITED, indirect=True)
def test_ctrl_c_is_130_without_a_traceback(running: subprocess.Popen[str]) -> None:
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert (running.returncode, errors) == (130, "")


def test_closed_pipe_ends_the_run_quietly(running: subprocess.Popen[str]) -> None:
    running.stdout.close()
    errors = running.stderr.read()
    assert (running.wait(timeout=120), errors) == (1, "")
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
