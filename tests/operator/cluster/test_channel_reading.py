"""Reading channels: truncated, huge, of another version or hostile, nothing raises, and the rest is still heard."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.contract import ACCEPTED_CONTRACTS, CONTRACT, ArtifactRef, StageProgress, StageResult
from kubedistill.v1alpha1 import ArtifactStatus, StageStatus
from kubedistill_operator.cluster.channel_reading import read_channel
from kubedistill_operator.observed import Channel

Values = dict[str, Any]
AT = "2026-03-01T11:59:50.000Z"
PROGRESS = StageProgress(
    at=AT, state="Working", done=640, total=1200, unit="rows", eta_seconds=9.5, gpu_seconds=3.0, figures={"loss": 0.5}
)
RESULT = StageResult(
    driver="d1", outcome="Succeeded", started_at=AT, ended_at=AT, gpu_seconds=7.0,
    artifacts={"rows": ArtifactRef(key="a" * 64, uri="file:///a", complete=True)}, summary={"accuracy": 0.5},
)  # fmt: skip


def channel(**data: str) -> Channel:
    return read_channel({"data": {name.replace("_", "."): value for name, value in data.items()}})


def changed(said: StageProgress | StageResult, /, **changes: Any) -> str:
    return json.dumps(json.loads(said.to_json()) | changes)


def test_what_a_driver_wrote_is_heard() -> None:
    found = channel(owner="token:d1", starts="2", progress_json=PROGRESS.to_json(), result_json=RESULT.to_json())
    assert (found.owner, found.starts, found.stop, found.problem) == ("token:d1", 2, False, "")
    assert found.progress == PROGRESS.model_copy(update={"at": "2026-03-01T11:59:50Z"})
    assert found.result == RESULT


def test_a_channel_that_nobody_claimed_is_empty() -> None:
    assert channel(owner="token", starts="0") == Channel(owner="token")


def test_a_request_to_stop_is_seen() -> None:
    assert channel(owner="token", starts="1", stop="true").stop


@pytest.mark.parametrize("resource", [{}, {"data": None}, {"data": []}, {"data": {}}])
def test_a_config_map_without_data_is_an_empty_channel(resource: Values) -> None:
    assert read_channel(resource) == Channel(owner="")


@pytest.mark.parametrize("contract", ACCEPTED_CONTRACTS)
def test_the_contract_and_the_one_before_it_are_read(contract: int) -> None:
    found = channel(result_json=changed(RESULT, contract=contract))
    assert found.result == RESULT.model_copy(update={"contract": contract})
    assert max(ACCEPTED_CONTRACTS) == CONTRACT


def test_fields_of_a_newer_contract_are_ignored() -> None:
    assert channel(progress_json=changed(PROGRESS, weather="fine")).progress is not None


REFUSED: dict[str, tuple[str, str]] = {
    "truncated": (PROGRESS.to_json()[:-5], "EOF while parsing"),
    "huge": (changed(PROGRESS, message="x" * 20_000), "larger than 16 KiB"),
    "not JSON": ("hello", "expected value"),
    "not an object": ("[]", "not an object"),
    "a number that is none": ('{"contract": 1, "etaSeconds": NaN}', "expected value"),
    "GPUs that nobody has": (changed(PROGRESS, gpus=10**9), "gpus: too many"),
    "GPUs that are owed": (changed(PROGRESS, gpus=-1), "gpus"),
    "nested without end": ("[" * 10_000, "recursion limit exceeded"),
    "half a character": ('{"contract": 1, "at": "\\ud800"}', "unexpected end of hex escape"),
    "a version of the future": (changed(PROGRESS, contract=CONTRACT + 1), "contract: 2 is not understood"),
    "a version of the past": (changed(PROGRESS, contract=CONTRACT - 2), "is not understood"),
    "a version that is not a number": (changed(PROGRESS, contract="1"), "is not understood"),
    "a version that is a truth": (changed(PROGRESS, contract=True), "is not understood"),
    "no version": (json.dumps({"at": AT, "state": "Working"}), "is not understood"),
    "an unknown state": (changed(PROGRESS, state="Dancing"), "state: "),
    "a negative count": (changed(PROGRESS, done=-1), "done: "),
    "a count beyond all rows": (changed(PROGRESS, total=10**300), "done, total: too large"),
    "no time": (changed(PROGRESS, at="tomorrow"), "at: not a time"),
    "a time beyond all calendars": (changed(PROGRESS, at="9999-12-31T23:59:59-23:59"), "out of range"),
    "negative GPU-seconds": (changed(PROGRESS, gpuSeconds=-1), "gpuSeconds: not an amount"),
    "negative idle GPU-seconds": (changed(PROGRESS, idleGpuSeconds=-1), "idleGpuSeconds: not an amount"),
    "endless GPU-seconds": (
        changed(PROGRESS, gpuSeconds=0).replace('"gpuSeconds": 0', '"gpuSeconds": 1e999'), "gpuSeconds: not an amount",
    ),
    "GPU-seconds beyond all numbers": (
        changed(PROGRESS, gpuSeconds=0).replace('"gpuSeconds": 0', f'"gpuSeconds": {"9" * 400}'), "gpuSeconds",
    ),
    "a negative time left": (changed(PROGRESS, etaSeconds=-2), "etaSeconds: not an amount"),
    "figures that are none": (changed(PROGRESS, figures=[1]), "figures: "),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_progress_that_is_refused_is_a_problem_and_the_result_is_still_heard(case: str) -> None:
    text, problem = REFUSED[case]
    found = channel(owner="token:d1", starts="1", progress_json=text, result_json=RESULT.to_json())
    assert found.progress is None
    assert found.problem.startswith("progress.json: ")
    assert problem in found.problem
    assert len(found.problem) <= 700
    assert (found.result, found.starts) == (RESULT, 1)


REFUSED_RESULTS = {
    "truncated": RESULT.to_json()[:-5],
    "huge": changed(RESULT, summary={"x": "y" * 20_000}),
    "unknown outcome": changed(RESULT, outcome="Perhaps"),
    "unknown artifact": changed(RESULT, artifacts={"gold": {"key": "a", "uri": "b", "complete": True}}),
    "a key that is not a digest": changed(RESULT, artifacts={"rows": {"key": "a" * 65, "uri": "b", "complete": True}}),
    "a key that moves a terminal": changed(
        RESULT, artifacts={"rows": {"key": "\x1b[2J", "uri": "b", "complete": True}}
    ),
    "an empty key": changed(RESULT, artifacts={"rows": {"key": "", "uri": "b", "complete": True}}),
    "negative GPU-seconds": changed(RESULT, gpuSeconds=-0.5),
    "negative idle GPU-seconds": changed(RESULT, idleGpuSeconds=-0.5),
    "a newer contract": changed(RESULT, contract=CONTRACT + 1),
    "no driver": json.dumps({key: value for key, value in json.loads(RESULT.to_json()).items() if key != "driver"}),
}


@pytest.mark.parametrize("case", REFUSED_RESULTS)
def test_a_result_that_is_refused_is_a_problem_and_progress_is_still_heard(case: str) -> None:
    found = channel(progress_json=PROGRESS.to_json(), result_json=REFUSED_RESULTS[case])
    assert found.result is None
    assert found.problem.startswith("result.json: ")
    assert found.progress is not None


def test_what_a_result_shows_moves_no_terminal() -> None:
    gate = {"passed": False, "reasons": ["\x1b[31mno\n" + "x" * 900], "limits": [{"\x07name": 0.5}, None, True]}
    found = channel(result_json=changed(RESULT, message="\x1b]0;title\x07", summary={"gate": gate}))
    assert found.result is not None
    assert found.result.message == "]0;title"
    assert found.result.summary["gate"]["limits"] == [{"name": 0.5}, None, True]
    (reason,) = found.result.summary["gate"]["reasons"]
    assert reason.startswith("[31mno x")
    assert len(reason) == 700


@pytest.mark.parametrize("starts", ["-1", "one", "1.5", "1e3", "٣", "9" * 400, "99999999", " 1"])
def test_a_count_of_starts_that_is_none_is_a_problem(starts: str) -> None:
    found = channel(owner="token", starts=starts)
    assert (found.starts, found.problem) == (0, "starts: not a count")


def test_a_loss_that_is_not_a_number_is_left_out_and_the_rest_is_heard() -> None:
    text = StageProgress(at=AT, state="Working", figures={"loss": math.nan, "step": 3.0}).to_json()
    assert "NaN" not in text, "the driver writes null"
    found = channel(progress_json=text)
    assert found.progress is not None
    assert found.progress.figures == {"step": 3.0}


def test_figures_are_bounded() -> None:
    figures = {f"figure-{number:04}-{'x' * 100}": 1.0 for number in range(100)} | {"huge": 10**400, "text": "a"}
    found = channel(progress_json=changed(PROGRESS, figures=figures))
    assert found.progress is not None
    assert len(found.progress.figures) == 32
    assert max(map(len, found.progress.figures)) <= 64


def test_more_than_all_is_all() -> None:
    found = channel(progress_json=changed(PROGRESS, done=1300))
    assert found.progress is not None
    assert found.progress.done == 1200


@pytest.mark.parametrize("at", ["2036-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_the_time_of_a_report_is_read_as_it_is_whatever_the_clock_of_its_driver(at: str) -> None:
    found = channel(progress_json=changed(PROGRESS, at=at))
    assert found.progress is not None
    assert found.progress.at == at


def test_what_is_said_fits_into_status() -> None:
    found = channel(
        progress_json=changed(PROGRESS, unit="u" * 500, message="m\n" * 500),
        result_json=changed(RESULT, message="m" * 4000, reason="not a\nreason", cause="c" * 500),
    )
    assert found.progress is not None
    assert found.result is not None
    message = f"{found.progress.done} of {found.progress.total} {found.progress.unit}"
    StageStatus(name="Train", message=message, reason=found.result.reason)
    StageStatus(name="Train", message=found.result.message)
    StageStatus(name="Train", message=found.progress.message)
    assert found.result.reason == ""


@pytest.mark.parametrize("reason", ["LowYield", "UserCodeError", "OutOfMemory"])
def test_a_reason_in_one_word_is_kept(reason: str) -> None:
    found = channel(result_json=changed(RESULT, outcome="Failed", reason=reason))
    assert found.result is not None
    assert found.result.reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from([*json.loads(PROGRESS.to_json()), *json.loads(RESULT.to_json()), "cause", "reason", "message"])
MUTATED = st.builds(
    lambda message, changes: json.dumps(json.loads(message.to_json()) | changes),
    st.sampled_from([PROGRESS, RESULT]),
    st.dictionaries(FIELDS, JSON, max_size=4),
)
TEXTS = st.text(max_size=200) | MUTATED | JSON.map(json.dumps)


@given(data=st.dictionaries(st.sampled_from(["owner", "starts", "progress.json", "result.json", "stop"]), TEXTS))
def test_any_config_map_is_read_without_an_error_and_fits_into_status(data: dict[str, str]) -> None:
    found = read_channel({"data": data})
    if found.progress is not None:
        done = found.progress
        percent = min(100, round(100 * done.done / done.total)) if done.total else 0
        StageStatus(
            name="Train",
            percent=percent,
            eta_seconds=done.eta_seconds,
            gpu_seconds=done.gpu_seconds,
            message=done.message,
            report_stamp=done.at,
            starts=found.starts,
        )
    if found.result is not None:
        for name, artifact in found.result.artifacts.items():
            ArtifactStatus(name=name, key=artifact.key, complete=artifact.complete)
        StageStatus(name="Train", gpu_seconds=found.result.gpu_seconds, reason=found.result.reason)
    json.dumps([found.problem, found.owner], allow_nan=False)
