"""Jobs on this machine: the same requests, carried out by a child process that says what a test writes down."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedistill import AsyncClient, Client, DistillationJob
from kubedistill.client.job import manifest_of
from kubedistill.errors import Conflict, GateMissed, InvalidInput, JobFailed, NoSuchJob, NotAvailable
from support.kube_api import wait_for
from support.messages import CheckMessage
from support.sample_reports import make_values

SAY = """
def say(**event):
    print(json.dumps(event), flush=True)
def stage(name, state, **more):
    say(event="stage", stage=name, state=state, attempt=1, message="", **more)
def value(option):
    return sys.argv[sys.argv.index(option) + 1]
folder = value("--store") + "/runs/default.support/local"
os.makedirs(folder + "/prepare-1", exist_ok=True)
open(folder + "/prepare-1/driver.log", "a").write('{"message": "hello"}\\n')
stage("Prepare", "Running")
"""
GOES_ON = SAY + "time.sleep(300)"
WORKS = """
say(event="progress", stage="Prepare", progress={"at": "", "state": "Working", "done": 1, "total": 4, "unit": "rows"})
stage("Prepare", "Succeeded", seconds=1)
report = {form: folder + "/report." + form for form in ("json", "md", "html")}
"""
SECONDS = 60


@pytest.fixture
def report_file(tmp_path: Path) -> Callable[[bool], None]:
    """Put a report where a run leaves it, passed by the gate or not."""

    def write(passed: bool) -> None:
        folder = tmp_path / ".kubedistill" / "runs" / "default.support" / "local"
        folder.mkdir(parents=True)
        gate = {"passed": passed, "reasons": [] if passed else ["gain 0.01 is below minGain 0.1"]}
        (folder / "report.json").write_text(json.dumps({**make_values(), "gate": gate}))

    return write


@pytest.fixture
def succeeds(runtime: Callable[[str], None], report_file: Callable[[bool], None]) -> None:
    report_file(True)
    runtime(SAY + WORKS + "say(event='finished', exitCode=0, report=report, exports=[], seconds=1)")


@pytest.fixture
def client(tmp_path: Path, runtime: Callable[[str], None]) -> Iterator[Client]:
    with Client.local(data_root=tmp_path) as found:
        yield found


@pytest.fixture
def job(job_values: dict[str, Any]) -> DistillationJob:
    return DistillationJob.model_validate(job_values, strict=False)


def reaches(client: Client, phase: str) -> None:
    until = time.monotonic() + SECONDS
    while client.jobs.get("support").phase != phase:
        assert time.monotonic() < until, client.jobs.get("support")
        time.sleep(0.05)


@pytest.mark.usefixtures("succeeds")
def test_a_job_runs_to_its_end_and_is_judged(client: Client, job: DistillationJob, tmp_path: Path) -> None:
    submitted = client.jobs.submit(job)
    assert (submitted.change, submitted.job.name, submitted.job.is_over) == ("created", "support", False)
    seen = list(client.jobs.stream("support", timeout=SECONDS))
    assert seen[-1].phase == "Succeeded"
    ended = client.jobs.wait("support", timeout=SECONDS)
    assert [stage.state for stage in ended.status.stages][:2] == ["Succeeded", "Pending"]
    assert client.jobs.report("support").comparison.gain == 0.4
    assert client.models.evaluate("support")["inference_time"] == 0.011
    assert client.models.compare("support").page == str(
        tmp_path / ".kubedistill/runs/default.support/local/report.html"
    )
    (log,) = client.jobs.logs("support")
    assert log.lines == ('{"message": "hello"}',)
    assert client.jobs.submit(job).change == "unchanged"
    assert [one.name for one in client.jobs.list()] == ["support"]
    assert list(client.jobs.events("support")) == []


@pytest.mark.usefixtures("succeeds")
def test_the_runtime_gets_the_places_of_data_store_and_config_maps(
    job: DistillationJob, tmp_path: Path, runtime: Callable[[str], None], check_message: CheckMessage
) -> None:
    runtime(SAY + "open(value('--store') + '/arguments', 'w').write(json.dumps(sys.argv[1:]))\nsys.exit(1)")
    with Client.local(data_root=tmp_path, config_maps={"prompts": tmp_path}, teacher_price=2.5) as client:
        client.jobs.create_or_update(job)
        with pytest.raises(JobFailed) as caught:
            client.jobs.wait("support", timeout=SECONDS)
        check_message(caught.value, "RuntimeDied", "1")
    store = tmp_path / ".kubedistill"
    assert json.loads((store / "arguments").read_text()) == [
        "--bound-to-parent",
        "--manifest",
        str(store / "runs/default.support/job.json"),
        "--data-root",
        str(tmp_path),
        "--store",
        str(store),
        "--configmap",
        f"prompts={tmp_path}",
        "--prices",
        '{"teacher":2.5}',
    ]
    written = json.loads((store / "runs/default.support/job.json").read_text())
    assert written == {**manifest_of(job), "metadata": {"name": "support", "namespace": "default"}}


FAILURES = {
    "a stage": ("say(event='failed', reason='LowYield', message='few', exitCode=1)", JobFailed, "LowYield: few"),
    "the gate": (
        WORKS + "say(event='finished', exitCode=3, report=report, exports=[], seconds=1)", GateMissed, "below minGain",
    ),
    "a death": ("os.kill(os.getpid(), signal.SIGKILL)", JobFailed, "killed by SIGKILL"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_raised_to_whoever_waits(
    case: str, client: Client, job: DistillationJob, runtime: Callable[[str], None], report_file: Callable[[bool], None]
) -> None:
    script, kind, text = FAILURES[case]
    report_file(False)
    runtime(SAY + script)
    client.jobs.create_or_update(job)
    with pytest.raises(kind) as caught:
        client.jobs.wait("support", timeout=SECONDS)
    assert text in str(caught.value)


def test_a_job_is_suspended_resumed_cancelled_and_deleted(
    client: Client, job: DistillationJob, runtime: Callable[[str], None], check_message: CheckMessage
) -> None:
    runtime(GOES_ON)
    client.jobs.create_or_update(job)
    reaches(client, "Preparing")
    with pytest.raises(Conflict) as caught:
        client.jobs.rerun("support")
    check_message(caught.value)
    client.jobs.suspend("support")
    reaches(client, "Suspended")
    client.jobs.resume("support")
    reaches(client, "Preparing")
    client.jobs.cancel("support")
    reaches(client, "Failed")
    assert client.jobs.get("support").failure_reason == "Cancelled"
    client.jobs.delete("support")
    with pytest.raises(NoSuchJob) as caught:
        client.jobs.get("support")
    check_message(caught.value, "support")


def test_resuming_at_once_is_not_lost(
    client: Client, job: DistillationJob, runtime: Callable[[str], None], tmp_path: Path
) -> None:
    log = tmp_path / ".kubedistill" / "runs" / "default.support" / "local" / "prepare-1" / "driver.log"
    runtime(GOES_ON)
    client.jobs.create_or_update(job)
    reaches(client, "Preparing")
    client.jobs.suspend("support")
    client.jobs.resume("support")
    wait_for(lambda: len(log.read_text().splitlines()) == 2, what="the runtime has started again", seconds=SECONDS)
    reaches(client, "Preparing")


def test_another_spec_is_refused_while_a_job_runs(
    client: Client, job_values: dict[str, Any], runtime: Callable[[str], None], check_message: CheckMessage
) -> None:
    runtime(GOES_ON)
    client.jobs.submit(job_values)
    job_values["spec"]["training"] = {"epochs": 1}
    with pytest.raises(Conflict) as caught:
        client.jobs.submit(job_values)
    check_message(caught.value)


@pytest.mark.usefixtures("succeeds")
def test_a_rerun_is_waited_for(client: Client, job: DistillationJob) -> None:
    client.jobs.create_or_update(job)
    client.jobs.wait("support", timeout=SECONDS)
    assert not client.jobs.rerun("support").is_over
    assert client.jobs.wait("support", timeout=SECONDS).phase == "Succeeded"


@pytest.mark.usefixtures("succeeds")
def test_the_same_is_had_asynchronously(tmp_path: Path, job: DistillationJob) -> None:
    async def main() -> tuple[list[str], float | None]:
        async with AsyncClient.local(data_root=tmp_path) as client:
            await client.jobs.create_or_update(job)
            phases = [one.phase async for one in client.jobs.stream("support", timeout=SECONDS)]
            await client.jobs.wait("support", timeout=SECONDS)
            return phases, (await client.models.evaluate("support")).accuracy

    phases, accuracy = asyncio.run(main())
    assert (phases[-1], accuracy) == ("Succeeded", 0.8)


def test_what_one_machine_has_not_is_said(
    client: Client, job: DistillationJob, runtime: Callable[[str], None], check_message: CheckMessage
) -> None:
    runtime("time.sleep(300)")
    client.jobs.create_or_update(job)
    with pytest.raises(NotAvailable) as caught:
        client.jobs.logs("support")
    check_message(caught.value, "Pending")
    with pytest.raises(InvalidInput) as caught:
        client.jobs.logs("support", stage="Sleep")
    check_message(caught.value, "Sleep")
    with pytest.raises(NotAvailable) as caught:
        client.jobs.report("support")
    check_message(caught.value)
