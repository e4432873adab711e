"""Following a job: over watches that end, servers that are away, and until the run that is asked for is over."""

from collections.abc import Callable

import pytest

from kubedistill.client import interpreters
from kubedistill.client.follow import UNAVAILABLE_SECONDS, follow
from kubedistill.client.interpreters import Interpreter
from kubedistill.errors import ClusterUnavailable, NoSuchJob, WaitTimeout
from support.messages import CheckMessage

AWAY = ClusterUnavailable("away")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Return a clock that only pauses move on."""
    now = [0.0]
    monkeypatch.setattr(interpreters.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return lambda: now[0]


def event(values: dict, kind: str = "MODIFIED") -> dict:
    return {"type": kind, "object": values}


def phases(server, clock, **options) -> list[str]:
    operation = follow("support", namespace="team-a", clock=clock, **options)
    return [job.phase for job in Interpreter(server).stream(operation)]


def test_every_version_is_shown_once_up_to_the_end(server, make_job, clock) -> None:
    server.answers = [make_job("Preparing", version=1)]
    server.watches = [[event(make_job("Training", version=2)), event(make_job("Succeeded", version=3))]]
    assert phases(server, clock) == ["Preparing", "Training", "Succeeded"]
    watch = server.asked[1]
    assert (watch.verb, dict(watch.query)) == (
        "watch",
        {"fieldSelector": "metadata.name=support", "resourceVersion": "1"},
    )


@pytest.mark.parametrize("end", [[], [{"type": "ERROR", "object": {"code": 410}}], [AWAY]])
def test_a_watch_that_ends_is_begun_again(end: list, server, make_job, clock) -> None:
    server.answers = [make_job("Training", version=1), make_job("Training", version=1), make_job("Failed", version=9)]
    server.watches = [end, []]
    assert phases(server, clock) == ["Training", "Failed"]


def test_a_version_before_the_end_of_a_watch_is_shown_once(server, make_job, clock) -> None:
    """A watch that fails had lost what it had shown, and the next request showed it again."""
    training = make_job("Training", version=2)
    server.answers = [make_job("Preparing", version=1), training, make_job("Failed", version=9)]
    server.watches = [[event(training), AWAY], []]
    assert phases(server, clock) == ["Preparing", "Training", "Failed"]


def test_a_server_that_is_away_for_a_while_is_waited_for(server, make_job, clock) -> None:
    server.answers = [make_job("Training"), *[AWAY] * 60, make_job("Succeeded", version=2)]
    assert phases(server, clock) == ["Training", "Succeeded"]
    assert clock() < UNAVAILABLE_SECONDS


def test_a_server_that_stays_away_is_given_up(server, make_job, clock) -> None:
    server.answers = [make_job("Training"), *[AWAY] * 200]
    with pytest.raises(ClusterUnavailable):
        phases(server, clock)
    assert clock() > UNAVAILABLE_SECONDS


def test_a_server_that_never_answered_is_not_waited_for(server, clock) -> None:
    server.answers = [AWAY]
    with pytest.raises(ClusterUnavailable):
        phases(server, clock)


def test_a_job_that_is_deleted_ends_it(server, make_job, clock, check_message: CheckMessage) -> None:
    server.answers = [make_job("Training")]
    server.watches = [[event(make_job("Training", version=2), "DELETED")]]
    with pytest.raises(NoSuchJob) as caught:
        phases(server, clock)
    check_message(caught.value)


def test_a_time_limit_ends_it_and_says_where_the_job_is(server, make_job, clock, check_message: CheckMessage) -> None:
    server.answers = [make_job("Training", message="QuotaExceeded: pods=0")] * 10
    with pytest.raises(WaitTimeout) as caught:
        phases(server, clock, seconds=5)
    check_message(caught.value, "team-a/support", "Training", "5 s", "QuotaExceeded: pods=0")
    assert [one.query["timeoutSeconds"] for one in server.asked if one.verb == "watch"] == [*"54321", "1"]


def test_the_end_of_an_earlier_run_is_not_an_end(server, make_job, clock) -> None:
    asked = {"kubedistill.io/rerun": "again"}
    server.answers = [make_job("Succeeded", annotations=asked)]
    server.watches = [
        [
            event(make_job("Preparing", version=2, annotations=asked, handledRequests=["rerun:again"])),
            event(make_job("Succeeded", version=3, annotations=asked, handledRequests=["rerun:again"])),
        ]
    ]
    assert phases(server, clock) == ["Succeeded", "Preparing", "Succeeded"]
