"""The entry in a pod: it claims its attempt, hears SIGTERM and the operator, and ends with the right code."""

import hashlib
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedistill.contract import StageJob, StageResult
from kubedistill.contract.summaries import TrainSummary
from kubedistill.errors import EXIT_BAD_JOB, EXIT_CLAIM_LOST, EXIT_FAILED, EXIT_SUCCESS, EXIT_UNREPORTED
from kubedistill_runtime import driver
from kubedistill_runtime.__main__ import main
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.store import Store
from support.channel_fixtures import TOKEN
from support.config_map_server import NAME, ConfigMapServer, Fault

FOLDER = "runs/default.job/local/train-1"
Work = Callable[[Progress], Outcome | None]
Run = Callable[[Work], int]


@pytest.fixture(autouse=True)
def own_signals(own_logs: None) -> Iterator[None]:
    """Signals do afterwards what they did before."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def pod(server: ConfigMapServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that the operator's pod template and the kubelet set."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    monkeypatch.setenv("KUBEDISTILL_SERVICE_ACCOUNT", str(server.account))
    monkeypatch.setenv("KUBEDISTILL_CHANNEL", NAME)


@pytest.fixture
def run(job: StageJob, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Start the entry with a function in the stage's place, and return the exit code."""
    path = tmp_path / "mounted" / "job.json"
    path.parent.mkdir()
    path.write_text(job.model_copy(update={"store": store.uri}).to_json())

    def run(work: Work) -> int:
        def work_on(_job: StageJob, *, progress: Progress, **_: Any) -> Outcome:
            return work(progress) or Outcome(summary=TrainSummary(steps=3))

        monkeypatch.setattr(driver, "make_artifacts", work_on)
        return main(["--job", str(path), "--job-sha256", hashlib.sha256(path.read_bytes()).hexdigest()])

    return run


FORGED: dict[str, Callable[[StageJob], str]] = {
    "another store": lambda job: job.model_copy(update={"store": "file:///kubedistill/storage/theirs"}).to_json(),
    "another owner's attempt": lambda job: job.model_copy(update={"token": "theirs"}).to_json(),
    "one more byte": lambda job: f"{job.to_json()} ",
    "nothing": lambda job: "",
    "no stage job": lambda job: "{}",
}


@pytest.mark.parametrize("forged", FORGED)
def test_f7_a_job_with_other_bytes_is_refused_before_anything_is_read_or_written(
    forged: str,
    job: StageJob,
    pod: None,
    server: ConfigMapServer,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "job.json"
    path.write_text(FORGED[forged](job))
    before = dict(server.data)
    assert main(["--job", str(path), "--job-sha256", hashlib.sha256(job.to_json().encode()).hexdigest()]) == 2
    (event,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (event["event"], event["exitCode"]) == ("failed", 2)
    assert event["message"].startswith(f"{path}: its sha256 is {hashlib.sha256(path.read_bytes()).hexdigest()}, ")
    assert server.data == before
    assert list(store.names("")) == []


def step(progress: Progress, done: int = 1) -> None:
    progress.working(done=done, total=3, unit="steps")


def send_sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def told(server: ConfigMapServer) -> StageResult:
    return StageResult.model_validate_json(server.data["result.json"])


def log_lines(store: Store, name: str = "driver.log") -> list[str]:
    return [json.loads(line)["message"] for line in store.read(f"{FOLDER}/{name}").decode().splitlines()]


def test_what_succeeds_is_told_by_the_driver_that_claimed_the_attempt(
    pod: None, run: Run, server: ConfigMapServer, store: Store, tmp_path: Path
) -> None:
    assert run(step) == EXIT_SUCCESS
    result = told(server)
    assert (result.outcome, result.summary["steps"]) == ("Succeeded", 3)
    assert server.data["owner"] == f"{TOKEN}:{result.driver}"
    assert json.loads(server.data["progress.json"])["done"] == 1
    assert StageResult.model_validate_json(store.read(f"{FOLDER}/result.json")) == result
    assert StageJob.model_validate_json(store.read(f"{FOLDER}/job.json")).token == TOKEN
    assert log_lines(store) == ["driver started", "stage started", "stage ended"]
    assert [path.name for path in (tmp_path / "mounted").iterdir()] == ["job.json"], "that folder is read-only in a pod"


@pytest.mark.parametrize("how", ["the operator", "SIGTERM"])
def test_asked_to_leave_the_stage_stops_where_it_loses_nothing(
    how: str, pod: None, run: Run, server: ConfigMapServer
) -> None:
    done = []

    def work(progress: Progress) -> None:
        for number in range(3):
            step(progress, done=number)
            done.append(number)
            if how == "SIGTERM" and number == 1:
                send_sigterm()

    if how == "the operator":
        server.data["stop"] = "true"
    assert run(work) == EXIT_FAILED
    assert (told(server).outcome, told(server).cause) == ("Stopped", "none")
    assert json.loads(server.data["progress.json"])["state"] == "Stopping"
    assert done == ([0, 1] if how == "SIGTERM" else [])


def test_on_one_machine_sigterm_asks_for_the_same(run: Run, tmp_path: Path) -> None:
    def work(progress: Progress) -> None:
        step(progress)
        send_sigterm()
        step(progress, done=2)

    assert run(work) == EXIT_FAILED
    result = StageResult.model_validate_json((tmp_path / "mounted" / "result.json").read_bytes())
    assert result.outcome == "Stopped"


def test_a_second_sigterm_ends_the_driver_and_its_log_is_kept(
    pod: None, run: Run, server: ConfigMapServer, store: Store
) -> None:
    def work(progress: Progress) -> None:
        send_sigterm()
        logging.getLogger("stage").info("saving")
        send_sigterm()
        raise AssertionError("it should have left")

    with pytest.raises(SystemExit) as left:
        run(work)
    assert left.value.code == 128 + signal.SIGTERM
    assert "result.json" not in server.data
    assert log_lines(store) == ["driver started", "stage started", "saving"]


def test_a_driver_that_loses_its_attempt_ends_with_75_and_says_nothing_more(
    pod: None, run: Run, server: ConfigMapServer, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(progress: Progress) -> None:
        server.data |= {"owner": f"{TOKEN}:other", "starts": "2"}
        step(progress)

    assert run(work) == EXIT_CLAIM_LOST
    (event,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (event["event"], event["reason"], event["exitCode"]) == ("failed", "ClaimLost", 75)
    assert server.data == {"owner": f"{TOKEN}:other", "starts": "2"}
    assert not store.exists(f"{FOLDER}/result.json")


def test_a_driver_that_succeeds_in_vain_ends_with_75(pod: None, run: Run, server: ConfigMapServer) -> None:
    def work(progress: Progress) -> None:
        server.data |= {"owner": f"{TOKEN}:other", "starts": "2"}

    assert run(work) == EXIT_CLAIM_LOST
    assert "result.json" not in server.data


@pytest.mark.parametrize(
    "data", [{"owner": "another.uid", "starts": "0"}, {"owner": f"{TOKEN}:d", "starts": "1", "result.json": "{}"}]
)
def test_an_attempt_that_is_not_ours_is_never_begun(
    data: dict[str, str], pod: None, run: Run, server: ConfigMapServer, store: Store
) -> None:
    server.data = dict(data)
    begun: list[Progress] = []
    assert run(begun.append) == EXIT_CLAIM_LOST
    assert (begun, server.data) == ([], data)
    assert not store.exists("runs")


def test_a_second_driver_leaves_the_log_of_the_first(
    pod: None, run: Run, server: ConfigMapServer, store: Store
) -> None:
    def work(progress: Progress) -> None:
        logging.getLogger("stage").info("the head is going away")
        send_sigterm()
        send_sigterm()

    with pytest.raises(SystemExit):
        run(work)
    assert run(step) == EXIT_SUCCESS
    assert server.data["starts"] == "2"
    assert "the head is going away" in log_lines(store)
    assert log_lines(store, "driver-2.log") == ["driver started", "stage started", "stage ended"]


def test_a_result_that_the_api_server_refuses_exits_with_69_and_is_stored(
    pod: None, run: Run, server: ConfigMapServer, store: Store
) -> None:
    def work(progress: Progress) -> None:
        server.always = Fault(status=400)

    assert run(work) == EXIT_UNREPORTED == 69
    assert StageResult.model_validate_json(store.read(f"{FOLDER}/result.json")).outcome == "Succeeded"


@pytest.mark.parametrize("store", [Store(Path("/sys/kubedistill"))], ids=["a folder that the kernel lets nobody make"])
def test_a_store_that_cannot_be_written_is_told_before_the_stage_begins(
    pod: None, run: Run, server: ConfigMapServer
) -> None:
    begun: list[Progress] = []
    assert run(begun.append) == EXIT_FAILED
    assert begun == []
    result = told(server)
    assert (result.outcome, result.cause, result.reason) == ("Failed", "user", "StorageNotWritable")
    assert "/sys/kubedistill: " in result.message


@pytest.mark.parametrize("uri", ["s3://bucket/team", "file:///a%00b"])
def test_a3_a_store_that_no_driver_can_use_ends_with_78_and_its_message_is_the_last_line(
    uri: str,
    pod: None,
    run: Run,
    server: ConfigMapServer,
    job: StageJob,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    unclaimed = dict(server.data)
    (tmp_path / "mounted" / "job.json").write_text(job.model_copy(update={"store": uri}).to_json())
    begun: list[Progress] = []
    assert run(begun.append) == EXIT_BAD_JOB == 78
    assert (begun, server.data) == ([], unclaimed)
    assert capfd.readouterr().err.splitlines()[-1].startswith("spec.storage.uri: ")


def test_outside_of_a_cluster_a_channel_by_name_is_refused(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBEDISTILL_CHANNEL", NAME)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert run(step) == EXIT_UNREPORTED
    event = json.loads(capsys.readouterr().out)
    assert (event["reason"], event["exitCode"]) == ("ChannelUnavailable", EXIT_UNREPORTED)
    assert "without KUBEDISTILL_CHANNEL" in event["message"]
