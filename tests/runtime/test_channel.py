"""The file channel: what is told goes out whole, and the last word on each subject counts."""

import json
from pathlib import Path

import pytest

from kubedistill.contract import StageJob, StageProgress, StageResult
from kubedistill.errors import InvalidInput
from kubedistill_runtime.channel import FileChannel, read_job
from support.job_folder import JobFolder
from support.messages import CheckMessage

TIME = "2026-01-01T00:00:00.000Z"


@pytest.fixture
def channel(tmp_path: Path) -> FileChannel:
    return FileChannel(tmp_path / "runs" / "attempt")


def test_a_job_comes_back_as_it_was_given(channel: FileChannel, job_folder: JobFolder) -> None:
    job = job_folder.stage_job("Curate", keys=job_folder.keys())
    channel.publish_job(job)
    assert read_job(channel.folder / "job.json") == job


def test_later_progress_replaces_earlier_progress(channel: FileChannel) -> None:
    for done in (1, 2):
        channel.publish_progress(StageProgress(at=TIME, state="Working", done=done, total=2, unit="rows"))
    assert StageProgress.model_validate_json((channel.folder / "progress.json").read_text()).done == 2
    assert [path.name for path in channel.folder.iterdir()] == ["progress.json"], "nothing unfinished stays behind"


def test_a_result_says_nothing_of_what_is_absent(channel: FileChannel) -> None:
    result = StageResult(driver="d", outcome="Succeeded", started_at=TIME, ended_at=TIME)
    channel.publish_result(result)
    text = (channel.folder / "result.json").read_text()
    assert StageResult.model_validate_json(text) == result
    assert None not in json.loads(text).values()


def test_a_file_named_stop_asks_to_leave(channel: FileChannel) -> None:
    assert not channel.asked_to_stop()
    channel.folder.mkdir(parents=True)
    assert not channel.asked_to_stop()
    (channel.folder / "stop").touch()
    assert channel.asked_to_stop()


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b'{"stage": "Prepare"}', b"\xff\xfe", b'{"stage": "Dance"}']
)
def test_a_file_that_is_not_a_stage_job_is_refused_with_place_and_fix(
    content: bytes | None, tmp_path: Path, check_message: CheckMessage
) -> None:
    path = tmp_path / "job.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        read_job(path)
    check_message(refused.value, path)


def test_a_newer_contract_may_say_more(job_folder: JobFolder, tmp_path: Path) -> None:
    job = job_folder.stage_job()
    values = json.loads(job.to_json()) | {"contract": 2, "weather": "fine"}
    (tmp_path / "job.json").write_text(json.dumps(values))
    assert read_job(tmp_path / "job.json") == StageJob.model_validate(job.model_dump() | {"contract": 2})
