"""What a driver says and hears through its ConfigMap: seldom enough, in order, and never in another's name."""

import json
import random
from typing import Any

import pytest

from kubedistill.contract import MESSAGE_BYTES, ArtifactRef, StageProgress, StageResult
from kubedistill.errors import EXIT_CLAIM_LOST, ChannelUnavailable, ClaimLost
from kubedistill_runtime.channel.config_map_channel import ConfigMapChannel
from kubedistill_runtime.storage.store import Store
from support.channel_fixtures import TOKEN, Claim, Time
from support.config_map_server import ConfigMapServer, Fault
from support.messages import CheckMessage

TIME = "2026-01-01T00:00:00.000Z"
PROGRESS, RESULT = (f"runs/default.job/local/train-1/{name}.json" for name in ("progress", "result"))
FAULTS = {
    "reset": Fault(reset=True), "500": Fault(status=500), "429": Fault(status=429, headers={"Retry-After": "7"}),
    "401": Fault(status=401), "403": Fault(status=403), "400": Fault(status=400), "302": Fault(status=302),
    "truncated": Fault(body=b'{"metadata"'), "HTML": Fault(body=b"<html>"), "huge": Fault(body=b"[" + b"1," * 2**21),
}  # fmt: skip


def progress(done: int, **more: Any) -> StageProgress:
    return StageProgress(at=TIME, state="Working", done=done, total=100, unit="steps", **more)


def result(driver: str = "first", **more: Any) -> StageResult:
    return StageResult(driver=driver, outcome="Succeeded", started_at=TIME, ended_at=TIME, **more)


def said(server: ConfigMapServer) -> int | None:
    text = server.data.get("progress.json")
    return StageProgress.model_validate_json(text).done if text else None


def told_result(server: ConfigMapServer) -> StageResult:
    return StageResult.model_validate_json(server.data["result.json"])


def lose(server: ConfigMapServer) -> None:
    """Another driver takes the attempt over."""
    server.data |= {"owner": f"{TOKEN}:other", "starts": "2"}
    server.version += 1


# Progress


def test_progress_is_one_patch_that_begins_with_the_test_of_the_claim(claim: Claim, server: ConfigMapServer) -> None:
    claim("first").publish_progress(progress(1))
    assert server.patches[-1] == [
        {"op": "test", "path": "/data/owner", "value": f"{TOKEN}:first"},
        {"op": "add", "path": "/data/progress.json", "value": progress(1).to_json()},
    ]


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ([0, 1, 2, 9.9], [0]),
        ([0, 10], [0, 1]),
        ([0, 9, 10, 19, 20], [0, 2, 4]),
        ([0, 4, 8, 12, 16, 20, 24], [0, 3, 6]),
        ([0, 100, 105, 110], [0, 1, 3]),
    ],
)
def test_progress_is_told_at_most_every_ten_seconds(
    at: list[float], told: list[int], claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    channel = claim()
    for done, second in enumerate(at):
        time.now = second
        channel.publish_progress(progress(done))
    written = [json.loads(patch[1]["value"])["done"] for patch in server.patches[1:]]
    assert written == told


def test_the_store_keeps_how_far_the_stage_was(claim: Claim, server: ConfigMapServer, store: Store, time: Time) -> None:
    def kept() -> int:
        return json.loads(store.read(PROGRESS))["done"]

    channel = claim()
    channel.publish_progress(progress(1))
    assert kept() == 1
    time.now += 10
    server.faults.append(FAULTS["500"])
    channel.publish_progress(progress(2))
    assert kept() == 2, "though the API server did not listen"
    channel.publish_progress(progress(3))
    assert kept() == 2
    channel.publish_result(result())
    assert kept() == 3


def test_the_last_progress_is_told_with_the_result(claim: Claim, server: ConfigMapServer) -> None:
    channel = claim()
    channel.publish_progress(progress(1))
    channel.publish_progress(progress(2))
    assert said(server) == 1
    channel.publish_result(result())
    assert [change["path"] for change in server.patches[-1]] == [
        "/data/owner",
        "/data/progress.json",
        "/data/result.json",
    ]
    assert said(server) == 2


def test_progress_that_was_told_is_not_told_again_with_the_result(claim: Claim, server: ConfigMapServer) -> None:
    channel = claim()
    channel.publish_progress(progress(1))
    channel.publish_result(result())
    assert [change["path"] for change in server.patches[-1]] == ["/data/owner", "/data/result.json"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_api_server_that_does_not_listen_ends_no_stage(
    fault: Fault, claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    channel = claim()
    server.always = fault
    for done in range(10):
        time.now = 10.0 * done
        channel.publish_progress(progress(done))
        assert not channel.asked_to_stop()
    assert said(server) is None
    server.always = None
    time.now = 1000.0
    channel.publish_progress(progress(10))
    assert said(server) == 10
    time.now = 1010.0
    channel.publish_progress(progress(11))
    assert said(server) == 11, "and the old rhythm is back"
    assert time.pauses == [], "progress is never waited for"


def test_an_api_server_that_does_not_listen_is_asked_less_and_less(
    claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    channel = claim()
    server.always = Fault(status=500)
    before, tried = len(server.calls), []
    for second in range(600):
        time.now = float(second)
        channel.publish_progress(progress(second))
        tried += [second] * (len(server.calls) - before - len(tried))
    assert tried == [0, 20, 60, *range(120, 600, 60)]


def tell_every_minute(channel: ConfigMapChannel, time: Time, *, until: int) -> None:
    for second in range(int(time.now), until, 60):
        time.now = float(second)
        channel.publish_progress(progress(second))


def test_a_driver_that_has_no_right_any_more_leaves_since_its_child_is_gone(
    claim: Claim, server: ConfigMapServer, time: Time, check_message: CheckMessage
) -> None:
    channel = claim()
    server.always = FAULTS["403"]
    tell_every_minute(channel, time, until=600)
    server.always = FAULTS["500"]
    tell_every_minute(channel, time, until=1200)
    server.always = FAULTS["403"]
    tell_every_minute(channel, time, until=1800)
    with pytest.raises(ClaimLost) as lost:
        tell_every_minute(channel, time, until=2000)
    check_message(lost.value)
    assert lost.value.exit_code == EXIT_CLAIM_LOST


def test_progress_with_endless_figures_loses_them(claim: Claim, server: ConfigMapServer) -> None:
    figures = {f"metric-{number}": number / 7 for number in range(2000)}
    claim().publish_progress(progress(3, figures=figures, message="epoch 1"))
    told = StageProgress.model_validate_json(server.data["progress.json"])
    assert (told.done, told.figures, told.message) == (3, {}, "epoch 1")


# Taking over


LAST_WORDS = {
    "none": (None, 0.0, 0.0),
    "its progress": (progress(1, gpu_seconds=90.0, dollars=2.5, idle_gpu_seconds=45.0).to_json(), 90.0, 2.5),
    "progress of 0.1, without GPUs": ('{"at": "t", "state": "Working", "gpuSeconds": 4.5}', 4.5, 0.0),
    "nothing that can be read": ("{", 0.0, 0.0),
    "no amount": ('{"at": "t", "state": "Working", "gpuSeconds": NaN, "dollars": 1}', 0.0, 1.0),
    "less than nothing": ('{"at": "t", "state": "Working", "gpuSeconds": -7, "dollars": -1}', 0.0, 0.0),
}


@pytest.mark.parametrize("last", LAST_WORDS)
def test_a10_a_driver_counts_on_from_what_the_one_before_it_had_spent(
    last: str, claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    words, spent, dollars = LAST_WORDS[last]
    claim("first")
    if words is not None:
        server.data["progress.json"] = words
    second = claim("second")
    second.publish_progress(progress(2, gpu_seconds=10.0, gpus=2, dollars=0.25, idle_gpu_seconds=2.0))
    told = StageProgress.model_validate_json(server.data["progress.json"])
    assert (told.gpu_seconds, told.gpus, told.dollars) == (spent + 10.0, 2, dollars + 0.25)
    idle = 45.0 if last == "its progress" else 0.0
    assert told.idle_gpu_seconds == idle + 2.0
    time.now += 10
    third = claim("third")
    third.publish_result(result("third", gpu_seconds=1.0, dollars=0.5, idle_gpu_seconds=1.0))
    last_result = told_result(server)
    assert (last_result.gpu_seconds, last_result.dollars) == (spent + 11.0, dollars + 0.75), "and so does the next"
    assert last_result.idle_gpu_seconds == idle + 3.0


# Losing the attempt


@pytest.mark.parametrize(
    "say",
    [
        lambda channel: channel.publish_progress(progress(9)),
        lambda channel: channel.publish_result(result()),
        lambda channel: channel.asked_to_stop(),
    ],
    ids=["progress", "result", "stop"],
)
@pytest.mark.parametrize("gone", [False, True], ids=["taken over", "gone"])
def test_a_driver_that_lost_its_attempt_exits_with_75_and_changes_nothing(
    say: Any, gone: bool, claim: Claim, server: ConfigMapServer, store: Store, time: Time
) -> None:
    channel = claim("first")
    lose(server)
    server.gone = gone
    data = dict(server.data)
    with pytest.raises(ClaimLost) as lost:
        say(channel)
    assert lost.value.exit_code == EXIT_CLAIM_LOST
    assert server.data == data
    assert not store.exists(RESULT)
    calls, time.now = len(server.calls), 1000.0
    for again in (channel.publish_progress, channel.publish_result):
        with pytest.raises(ClaimLost):
            again(progress(9) if again == channel.publish_progress else result())
    with pytest.raises(ClaimLost):
        channel.asked_to_stop()
    assert len(server.calls) == calls, "it asks nobody any more"
    assert not store.exists(RESULT)
    assert time.pauses == []


def test_a_result_that_is_overtaken_on_its_way_is_refused(
    claim: Claim, server: ConfigMapServer, check_message: CheckMessage
) -> None:
    channel = claim("first")
    server.meanwhile = lambda: lose(server)
    with pytest.raises(ClaimLost) as refused:
        channel.publish_result(result())
    check_message(refused.value)
    assert "result.json" not in server.data


def test_a_loss_is_noticed_among_hiccups(claim: Claim, server: ConfigMapServer, time: Time) -> None:
    channel = claim("first")
    server.faults.extend([Fault(status=500), Fault(status=500)])
    time.on_sleep = lambda: lose(server)
    with pytest.raises(ClaimLost):
        channel.publish_result(result())
    assert time.pauses == [1]


def test_a_refusal_that_is_not_a_loss_says_what_the_server_said(
    claim: Claim, server: ConfigMapServer, check_message: CheckMessage
) -> None:
    channel = claim("first")
    server.immutable = True
    channel.publish_progress(progress(1))
    with pytest.raises(ChannelUnavailable) as refused:
        channel.publish_result(result())
    check_message(refused.value, 422)


# The result


def test_the_result_is_in_the_store_before_it_is_told(claim: Claim, server: ConfigMapServer, store: Store) -> None:
    channel = claim()
    stored: list[StageResult] = []
    server.meanwhile = lambda: stored.append(StageResult.model_validate_json(store.read(RESULT)))
    channel.publish_result(result(summary={"steps": 3}))
    assert stored == [told_result(server)] == [result(summary={"steps": 3})]


@pytest.mark.parametrize("times", [1, 5, 20])
@pytest.mark.parametrize("name", ["reset", "500", "429", "401", "truncated", "HTML", "huge"])
def test_a_result_is_told_through_hiccups(
    name: str, times: int, claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    channel = claim()
    channel.publish_progress(progress(7))
    server.faults.extend([FAULTS[name]] * (times + 1))  # one for the look before
    channel.publish_result(result())
    assert told_result(server) == result()
    assert len(time.pauses) == times
    assert time.now < 600


@pytest.mark.parametrize("name", ["reset", "500", "401", "truncated", "HTML"])
def test_a_result_that_is_not_accepted_for_ten_minutes_is_an_error_and_is_stored(
    name: str, claim: Claim, server: ConfigMapServer, store: Store, time: Time, check_message: CheckMessage
) -> None:
    channel = claim()
    server.always = FAULTS[name]
    with pytest.raises(ChannelUnavailable) as refused:
        channel.publish_result(result())
    check_message(refused.value)
    assert time.now == 600
    assert StageResult.model_validate_json(store.read(RESULT)) == result()


@pytest.mark.parametrize("name", ["400", "302"])
def test_a_result_that_is_refused_is_an_error_at_once(
    name: str, claim: Claim, server: ConfigMapServer, store: Store, time: Time, check_message: CheckMessage
) -> None:
    channel = claim()
    server.always = FAULTS[name]
    with pytest.raises(ChannelUnavailable) as refused:
        channel.publish_result(result())
    check_message(refused.value, name)
    assert time.pauses == []
    assert store.exists(RESULT)


def test_a_result_whose_reply_is_lost_is_the_same_result(claim: Claim, server: ConfigMapServer, time: Time) -> None:
    channel = claim()
    server.faults.extend([Fault(applied=True), Fault(applied=True, reset=True)])
    channel.publish_result(result())
    assert told_result(server) == result()
    assert time.pauses == [1]


def test_the_token_that_the_kubelet_renews_carries_the_result(
    claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    channel = claim()
    server.token = "second-token"
    time.on_sleep = lambda: server.give_token("second-token")
    channel.publish_result(result())
    assert [call.token for call in server.calls[-2:]] == ["first-token", "second-token"]
    assert told_result(server) == result()


def test_a_store_that_is_full_does_not_hold_a_result_back(claim: Claim, server: ConfigMapServer, store: Store) -> None:
    (server.account / "file").write_text("no folder")
    claim(store=Store(server.account / "file")).publish_result(result(message="the disk is full"))
    assert told_result(server).message == "the disk is full"


# Its size


def refs(length: int) -> dict[str, ArtifactRef]:
    return {
        name: ArtifactRef(key=name, uri="file:///" + "x" * length, complete=True)
        for name in ("rows", "answers", "judge")
    }


GATE = {"passed": False, "reasons": ["retention 0.61 is under 0.9"]}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"summary": {"kept": 3, "gate": GATE}}, {"kept", "gate"}),
        ({"summary": {"kept": 3, "gate": GATE, "curve": list(range(9000))}}, {"kept", "gate"}),
        ({"summary": {"a": "x" * 9000, "b": "y" * 9000, "gate": GATE}}, {"a", "gate"}),
        ({"summary": {"gate": GATE, "text": "ü" * 9000}}, {"gate"}),
        ({"summary": {"gate": GATE, "text": "\x00" * 3000}}, {"gate"}),
        ({"summary": {"one": "x" * MESSAGE_BYTES}}, set()),
        ({"summary": {f"figure-{number}": number for number in range(100_000)}}, None),
    ],
    ids=["small", "one long list", "two texts", "wide characters", "escapes", "one is too much", "very many"],
)
def test_a_result_that_is_too_long_loses_figures_and_is_complete_in_the_store(
    given: dict[str, Any], kept: set[str] | None, claim: Claim, server: ConfigMapServer, store: Store
) -> None:
    whole = result(message="as it was", **given)
    claim().publish_result(whole)
    told = told_result(server)
    assert len(server.data["result.json"].encode()) <= MESSAGE_BYTES
    assert told.summary == {name: whole.summary[name] for name in (told.summary if kept is None else kept)}
    assert (told.driver, told.outcome, told.message) == ("first", "Succeeded", "as it was")
    assert StageResult.model_validate_json(store.read(RESULT)) == whole


def test_what_is_too_long_without_figures_says_where_its_message_is(
    claim: Claim, server: ConfigMapServer, store: Store, check_message: CheckMessage
) -> None:
    whole = result(message="\x1b" * 4096, summary={"steps": 3})
    claim().publish_result(whole)
    check_message(told_result(server).message, f"{store.uri}/{RESULT}")
    assert StageResult.model_validate_json(store.read(RESULT)) == whole


def test_a_result_whose_artifacts_are_too_long_is_refused_aloud(
    claim: Claim, server: ConfigMapServer, store: Store, check_message: CheckMessage
) -> None:
    whole = result(artifacts=refs(6000))
    with pytest.raises(ChannelUnavailable) as refused:
        claim().publish_result(whole)
    check_message(refused.value, 16384)
    assert StageResult.model_validate_json(store.read(RESULT)) == whole


def test_text_of_any_kind_arrives_as_it_was(claim: Claim, server: ConfigMapServer) -> None:
    text = "".join(chr(code) for code in (0, 9, 10, 34, 92, 0x7F, 0x2028, 0xFFFD, 0x1F600))
    claim().publish_result(result(message=text, summary={text: text}))
    assert told_result(server) == result(message=text, summary={text: text})


# Stop


def test_a_wish_to_stop_comes_with_the_reply_to_a_write(claim: Claim, server: ConfigMapServer, time: Time) -> None:
    channel = claim()
    assert not channel.asked_to_stop()
    server.data["stop"] = "true"
    channel.publish_progress(progress(1))
    calls = len(server.calls)
    assert channel.asked_to_stop()
    assert len(server.calls) == calls


def test_a_wish_to_stop_is_looked_for_at_most_every_five_seconds(
    claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    channel = claim()
    looks = []
    for tenth in range(201):
        time.now = tenth / 10
        before = len(server.calls)
        assert not channel.asked_to_stop()
        looks += [time.now] * (len(server.calls) - before)
    assert looks == [0, 5, 10, 15, 20]
    server.data["stop"] = "true"
    time.now = 24.9
    assert not channel.asked_to_stop()
    time.now = 25.0
    assert channel.asked_to_stop()


@pytest.mark.parametrize("value", ["True", "TRUE", "yes", "1", "", " true", "false"])
def test_only_true_asks_to_stop(value: str, claim: Claim, server: ConfigMapServer) -> None:
    server.data["stop"] = value
    assert not claim().asked_to_stop()


def test_who_was_asked_to_stop_stays_asked(claim: Claim, server: ConfigMapServer, time: Time) -> None:
    server.data["stop"] = "true"
    channel = claim()
    assert channel.asked_to_stop()
    del server.data["stop"]
    time.now = 100.0
    channel.publish_progress(progress(1))
    assert channel.asked_to_stop()


def test_every_change_of_every_driver_is_within_its_own_claim(
    claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    drivers = [claim(name) for name in ("first", "second")]
    moments = random.Random(0)
    for step in range(30):
        time.now += moments.choice([1, 5, 10])
        for driver in drivers:
            try:
                driver.publish_progress(progress(step))
            except ClaimLost:
                assert driver is drivers[0]
    drivers[1].publish_result(result("second"))
    for patch in server.patches[2:]:
        assert patch[0] == {"op": "test", "path": "/data/owner", "value": f"{TOKEN}:second"}


# A job that is gone


def look(channel: ConfigMapChannel, time: Time, *, at: float) -> bool:
    time.now = at
    return channel.asked_to_stop()


def test_a_driver_whose_job_was_deleted_without_it_saves_and_leaves(
    claim: Claim, server: ConfigMapServer, store: Store, time: Time, check_message: CheckMessage
) -> None:
    channel = claim()
    assert not look(channel, time, at=5)
    server.owners = ()  # kubectl delete --cascade=orphan takes it away
    assert not look(channel, time, at=10)
    assert not look(channel, time, at=69)
    assert look(channel, time, at=75)
    channel.publish_progress(progress(1))
    with pytest.raises(ClaimLost) as caught:
        channel.publish_result(result())
    check_message(caught.value)
    assert caught.value.exit_code == EXIT_CLAIM_LOST
    assert StageResult.model_validate_json(store.read(RESULT)) == result(), "what it made is kept"
    assert "result.json" not in server.data


def test_a_driver_of_an_earlier_job_of_the_same_name_leaves_too(
    claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    channel = claim()
    server.owners = ("uid-of-the-restored-job",)
    assert not look(channel, time, at=10)
    assert look(channel, time, at=70)


def test_an_owner_that_is_back_a_minute_later_was_never_gone(claim: Claim, server: ConfigMapServer, time: Time) -> None:
    channel, owners = claim(), server.owners
    server.owners = ()
    assert not look(channel, time, at=10)
    server.owners = owners
    assert not look(channel, time, at=40)
    server.owners = ()
    for at in (60, 100, 119):
        assert not look(channel, time, at=at)
    server.owners = (*owners, "somebody-else")
    assert not look(channel, time, at=130)
    channel.publish_result(result())
    assert told_result(server) == result()


def test_an_api_server_that_is_away_says_nothing_of_the_owner(
    claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    channel = claim()
    server.always = Fault(status=503)
    for at in range(10, 400, 10):
        assert not look(channel, time, at=at)
    server.always = None
    assert not look(channel, time, at=500)
    channel.publish_result(result())
    assert told_result(server) == result()


def test_a_result_that_comes_within_the_minute_is_told(claim: Claim, server: ConfigMapServer, time: Time) -> None:
    channel = claim()
    server.owners = ()
    assert not look(channel, time, at=10)
    time.now = 40
    channel.publish_result(result())
    assert told_result(server) == result()
