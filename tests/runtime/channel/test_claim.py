"""The claim: who may take an attempt, in one change that the API server makes whole or not at all."""

import itertools
import json

import pytest

from kubedistill.contract import StageJob
from kubedistill.errors import EXIT_CLAIM_LOST, ChannelUnavailable, ClaimLost
from kubedistill_runtime.storage.store import Store
from support.channel_fixtures import TOKEN, Claim, Time
from support.config_map_server import ConfigMapServer, Fault
from support.messages import CheckMessage


def other_claims(server: ConfigMapServer, driver: str = "other") -> None:
    """Another driver is faster."""
    starts = str(int(server.data["starts"]) + 1)
    server.data |= {"owner": f"{TOKEN}:{driver}", "starts": starts}
    server.version += 1


def test_a_driver_claims_by_one_patch_that_tests_what_it_read(claim: Claim, server: ConfigMapServer) -> None:
    channel = claim("first")
    assert (server.data, channel.starts) == ({"owner": f"{TOKEN}:first", "starts": "1"}, 1)
    read, patched = server.calls
    assert (read.method, patched.method) == ("GET", "PATCH")
    assert patched.patch == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
        {"op": "test", "path": "/data/owner", "value": TOKEN},
        {"op": "test", "path": "/data/starts", "value": "0"},
        {"op": "replace", "path": "/data/owner", "value": f"{TOKEN}:first"},
        {"op": "replace", "path": "/data/starts", "value": "1"},
    ]


def test_of_several_drivers_the_last_claimant_wins(claim: Claim, server: ConfigMapServer) -> None:
    assert [claim(driver).starts for driver in ("first", "second", "third")] == [1, 2, 3]
    assert server.data == {"owner": f"{TOKEN}:third", "starts": "3"}


def test_progress_of_an_earlier_driver_does_not_hinder(claim: Claim, server: ConfigMapServer) -> None:
    server.data |= {"owner": f"{TOKEN}:first", "starts": "1", "progress.json": "{}", "stop": "true"}
    assert claim("second").starts == 2
    assert server.data["progress.json"] == "{}"


@pytest.mark.parametrize(
    "data",
    [
        {"owner": "another.uid", "starts": "0"},
        {"owner": "another.uid:driver", "starts": "1"},
        {"owner": TOKEN + "2", "starts": "0"},
        {"owner": TOKEN + "2:driver", "starts": "1"},
        {"owner": TOKEN[:-1], "starts": "0"},
        {"owner": TOKEN.upper(), "starts": "0"},
        {"owner": f" {TOKEN}", "starts": "0"},
        {"owner": "", "starts": "0"},
        {"starts": "0"},
        {"owner": f"{TOKEN}:other", "starts": "1", "result.json": "{}"},
        {"owner": TOKEN, "starts": "0", "result.json": ""},
    ],
    ids=str,
)
def test_what_waits_for_another_attempt_or_has_its_result_is_left_alone(
    data: dict[str, str], claim: Claim, server: ConfigMapServer, store: Store
) -> None:
    server.data = dict(data)
    with pytest.raises(ClaimLost) as lost:
        claim()
    assert lost.value.exit_code == EXIT_CLAIM_LOST == 75
    assert lost.value.at == "ConfigMap team/job-train-abcde-out"
    assert (server.data, len(server.calls)) == (data, 1)
    assert not store.exists("runs")


@pytest.mark.parametrize("starts", [None, "", "one", "-1", "1.0", " 1", "1_0", "²", "٣", "9" * 5000])
def test_a_count_of_starts_that_is_none_is_refused_in_few_words(
    starts: str | None, claim: Claim, server: ConfigMapServer, time: Time, check_message: CheckMessage
) -> None:
    server.data = {"owner": TOKEN} if starts is None else {"owner": TOKEN, "starts": starts}
    with pytest.raises(ChannelUnavailable) as refused:
        claim()
    check_message(refused.value)
    assert len(str(refused.value)) < 200
    assert time.pauses == []


@pytest.mark.parametrize("races", range(5))
def test_a_claim_that_others_overtake_is_tried_again_with_what_they_left(
    races: int, claim: Claim, server: ConfigMapServer
) -> None:
    left = iter(range(races))

    def race() -> None:
        if next(left, None) is not None:
            other_claims(server)
            server.meanwhile = race

    server.meanwhile = race
    assert claim("first").starts == races + 1
    assert server.data == {"owner": f"{TOKEN}:first", "starts": str(races + 1)}


def test_a_claim_that_is_overtaken_five_times_is_given_up(
    claim: Claim, server: ConfigMapServer, check_message: CheckMessage
) -> None:
    def race() -> None:
        other_claims(server)
        server.meanwhile = race

    server.meanwhile = race
    with pytest.raises(ChannelUnavailable) as refused:
        claim()
    check_message(refused.value, 5)
    server.meanwhile = None
    assert server.data == {"owner": f"{TOKEN}:other", "starts": "5"}
    assert [call.method for call in server.calls] == ["GET", "PATCH"] * 5


def test_an_attempt_that_another_takes_over_by_another_token_meanwhile_is_lost(
    claim: Claim, server: ConfigMapServer, check_message: CheckMessage
) -> None:
    server.meanwhile = lambda: server.data.update(owner="another.uid")
    with pytest.raises(ClaimLost) as refused:
        claim()
    check_message(refused.value)


def test_a_result_that_comes_between_reading_and_claiming_is_not_lost(
    claim: Claim, server: ConfigMapServer, check_message: CheckMessage
) -> None:
    first = claim("first")
    result = json.dumps({"driver": "first"})

    def ends() -> None:
        server.data["result.json"] = result
        server.version += 1

    server.meanwhile = ends
    with pytest.raises(ClaimLost) as refused:
        claim("second")
    check_message(refused.value)
    assert server.data == {"owner": first.claim, "starts": "1", "result.json": result}


@pytest.mark.parametrize("fault", [Fault(reset=True, applied=True), Fault(body=b"{", applied=True)], ids=str)
def test_a_claim_whose_reply_is_lost_counts_once(fault: Fault, claim: Claim, server: ConfigMapServer) -> None:
    server.faults.extend([Fault(applied=True), fault])
    assert claim("first").starts == 1
    assert server.data == {"owner": f"{TOKEN}:first", "starts": "1"}


PASSING = {
    "reset": Fault(reset=True), "500": Fault(status=500), "429": Fault(status=429), "401": Fault(status=401),
    "truncated": Fault(body=b'{"metadata"'), "HTML": Fault(body=b"<html>"), "a list": Fault(body=b"[]"),
    "no metadata": Fault(body=b'{"data": {}}'), "metadata null": Fault(body=b'{"metadata": null}'),
    "version a number": Fault(body=b'{"metadata": {"resourceVersion": 1}}'),
    "data a list": Fault(body=b'{"metadata": {"resourceVersion": "1"}, "data": []}'),
    "data of numbers": Fault(body=b'{"metadata": {"resourceVersion": "1"}, "data": {"starts": 0}}'),
    "data of objects": Fault(body=b'{"metadata": {"resourceVersion": "1"}, "data": {"owner": {}}}'),
}  # fmt: skip


@pytest.mark.parametrize("call", ["GET", "PATCH"])
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_delays_a_claim_and_no_more(
    fault: Fault, call: str, claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    server.faults.extend([Fault(applied=True)] * (call == "PATCH") + [fault])
    assert claim("first").starts == 1
    assert server.data["starts"] == "1"
    assert time.pauses == [1.0]


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_does_not_pass_ends_a_claim_after_ten_minutes_in_one_clear_error(
    fault: Fault, claim: Claim, server: ConfigMapServer, time: Time, check_message: CheckMessage
) -> None:
    server.always = fault
    with pytest.raises(ChannelUnavailable) as refused:
        claim()
    check_message(refused.value, "team/job-train-abcde-out")
    assert time.now == 600
    assert time.pauses[:6] == [1, 2, 4, 8, 16, 30]
    assert all(pause <= later for pause, later in itertools.pairwise(time.pauses[:-1]))


def test_a_claim_waits_as_long_as_it_is_told_to_within_a_minute(
    claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    server.faults.extend(Fault(status=429, headers={"Retry-After": after}) for after in ("7", "9999", "0"))
    claim()
    assert time.pauses == [7, 60, 4]


def test_the_token_that_the_kubelet_renews_meanwhile_is_taken(
    claim: Claim, server: ConfigMapServer, time: Time
) -> None:
    server.token = "second-token"
    time.on_sleep = lambda: server.give_token("second-token" if len(time.pauses) == 3 else "first-token")
    assert claim("first").starts == 1
    assert len(time.pauses) == 3


@pytest.mark.parametrize(
    ("fault", "kind", "named"),
    [
        (Fault(status=404), ClaimLost, "job-train-abcde-out"),
        (Fault(status=400), ChannelUnavailable, "400 Bad Request"),
        (Fault(status=302, headers={"Location": "/login"}), ChannelUnavailable, "302 Found"),
    ],
    ids=["404", "400", "302"],
)
@pytest.mark.parametrize("call", ["GET", "PATCH"])
def test_what_will_not_pass_ends_a_claim_at_once(
    fault: Fault,
    kind: type[Exception],
    named: str,
    call: str,
    claim: Claim,
    server: ConfigMapServer,
    time: Time,
    check_message: CheckMessage,
) -> None:
    server.faults.extend([Fault(applied=True)] * (call == "PATCH") + [fault])
    with pytest.raises(kind) as refused:
        claim()
    check_message(refused.value, named)
    assert time.pauses == []
    assert server.data == {"owner": TOKEN, "starts": "0"}


FORBIDDEN = Fault(status=403, body=b'{"message": "forbidden"}')


def test_rights_may_take_a_moment_to_reach_the_api_server(claim: Claim, server: ConfigMapServer, time: Time) -> None:
    server.faults.extend([FORBIDDEN] * 3)
    assert claim("first").starts == 1
    assert time.pauses == [1, 2, 4]


def test_rights_that_do_not_come_end_a_claim_after_half_a_minute(
    claim: Claim, server: ConfigMapServer, time: Time, check_message: CheckMessage
) -> None:
    server.always = FORBIDDEN
    with pytest.raises(ChannelUnavailable) as refused:
        claim()
    check_message(refused.value, 403, "get", "patch")
    assert time.now == 30
    assert server.data == {"owner": TOKEN, "starts": "0"}


def test_an_immutable_config_map_cannot_be_claimed(
    claim: Claim, server: ConfigMapServer, check_message: CheckMessage
) -> None:
    server.immutable = True
    with pytest.raises(ChannelUnavailable) as refused:
        claim()
    check_message(refused.value, 5)


def test_the_job_is_kept_next_to_what_its_driver_will_say(claim: Claim, job: StageJob, store: Store) -> None:
    assert claim().folder == "runs/default.job/local/train-1"
    assert StageJob.model_validate_json(store.read("runs/default.job/local/train-1/job.json")) == job


def test_a_store_that_is_full_does_not_hinder_a_claim(claim: Claim, server: ConfigMapServer) -> None:
    (server.account / "file").write_text("no folder")
    assert claim("first", store=Store(server.account / "file")).starts == 1
