"""Progress: counts become rate and time left, and leaving loses nothing that was said."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.contract import StageProgress
from kubedistill.errors import Stopped
from kubedistill_runtime.progress import Progress
from support.messages import CheckMessage


@dataclass(slots=True)
class ProgressHarness:
    """A stage's progress with a clock that is set by hand."""

    said: list[StageProgress] = field(default_factory=list)
    seconds: float = 0.0
    stop: bool = False
    gpus: int | None = None
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.progress = Progress(
            self.said.append, lambda: self.stop, clock=lambda: self.seconds, gpus=lambda: self.gpus
        )

    def work(self, done: int, *, total: int = 100, seconds: float) -> StageProgress:
        self.seconds = seconds
        self.progress.working(done=done, total=total, unit="rows")
        return self.said[-1]


def test_gpu_seconds_count_from_the_drivers_begin_once_it_knows_of_gpus() -> None:
    harness = ProgressHarness()
    harness.progress.loading("reading tokenizers")
    harness.gpus = 2
    assert harness.work(1, seconds=30).gpu_seconds == 60
    harness.gpus, harness.seconds = None, 45  # the session ends before the driver does
    assert harness.progress.spent().gpu_seconds == 90
    assert [(said.gpu_seconds, said.gpus) for said in harness.said] == [(0, 0), (60, 2)]


def test_gpus_are_idle_until_a_replica_makes_tokens_or_a_step_is_made() -> None:
    harness = ProgressHarness(gpus=2)
    harness.progress.loading("reading tokenizers")
    harness.seconds = 30
    harness.progress.generated(0, 1)
    assert harness.work(1, seconds=35).idle_gpu_seconds == 30 + 35
    harness.seconds = 40
    harness.progress.learned()
    assert harness.work(2, seconds=45).idle_gpu_seconds == (30 + 10) + 40
    assert harness.progress.spent().idle_gpu_seconds == 80


def test_loading_counts_nothing() -> None:
    harness = ProgressHarness()
    harness.progress.loading("reading tokenizers")
    (said,) = harness.said
    assert (said.state, said.message, said.done, said.rate) == ("Loading", "reading tokenizers", 0, None)


@pytest.mark.parametrize(
    ("steps", "rate", "eta"),
    [
        ([(0, 0.0)], None, None),
        ([(40, 0.0)], None, None),
        ([(0, 0.0), (20, 10.0)], 2.0, 40.0),
        ([(40, 0.0), (60, 10.0)], 2.0, 20.0),
        ([(0, 5.0), (20, 15.0), (100, 25.0)], 5.0, 0.0),
        ([(0, 0.0), (0, 10.0)], None, None),
        ([(0, 0.0), (20, 0.0)], None, None),
        ([(0, 0.0), (60, 10.0), (10, 20.0)], None, None),
        ([(0, 0.0), (60, 10.0), (10, 20.0), (20, 30.0)], 1.0, 80.0),
    ],
    ids=[
        "nothing yet", "what was there before is not our work", "from nothing", "from what was there before",
        "the mean since the first count", "no step", "no time", "a count that starts again", "and continues",
    ],
)  # fmt: skip
def test_rate_and_time_left_are_of_what_was_done_since_the_first_count(
    steps: list[tuple[int, float]], rate: float | None, eta: float | None
) -> None:
    harness = ProgressHarness()
    for done, seconds in steps:
        said = harness.work(done, seconds=seconds)
    assert (said.rate, said.eta_seconds) == (rate, eta)


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1e6)), min_size=1, max_size=20))
def test_whatever_is_counted_rate_and_time_left_are_never_negative(steps: list[tuple[int, float]]) -> None:
    harness = ProgressHarness()
    for done, seconds in sorted(steps, key=lambda step: step[1]):
        said = harness.work(done, seconds=seconds)
        assert (said.done, said.total, said.unit) == (done, 100, "rows")
        assert said.rate is None or said.rate > 0
        assert said.eta_seconds is None or said.eta_seconds >= 0


def test_figures_and_message_are_passed_on() -> None:
    harness = ProgressHarness()
    harness.progress.working(done=1, total=2, unit="steps", message="epoch 1", figures={"loss": 0.5})
    assert (harness.said[0].message, harness.said[0].figures) == ("epoch 1", {"loss": 0.5})


def test_asked_to_leave_it_says_how_far_it_is_and_then_stops(check_message: CheckMessage) -> None:
    harness = ProgressHarness(stop=True)
    with pytest.raises(Stopped) as refused:
        harness.work(7, seconds=0.0)
    check_message(refused.value)
    assert [(said.state, said.done) for said in harness.said] == [("Stopping", 7)]


def test_loading_is_never_interrupted() -> None:
    harness = ProgressHarness(stop=True)
    harness.progress.loading("the engine")
    assert [said.state for said in harness.said] == ["Loading"]


def test_a_download_is_reported_as_it_advances_until_there_is_work() -> None:
    harness = ProgressHarness()
    harness.progress.loading("the engine")
    for done in (1, 1, 2):
        harness.progress.downloading("the teacher", done, 9)
    assert [(said.done, said.unit) for said in harness.said[1:]] == [(1, "bytes"), (2, "bytes")]
    harness.work(1, seconds=1)
    harness.progress.downloading("the teacher", 3, 9)
    assert harness.said[-1].unit == "rows", "a replica that is started again does not stop the others"
    harness.progress.loading("the next engine")
    harness.progress.downloading("the student", 3, 9)
    assert (harness.said[-1].state, harness.said[-1].unit) == ("Loading", "bytes")


def test_threads_report_one_after_another() -> None:
    publishing, overlaps = Lock(), list[StageProgress]()

    def publish(said: StageProgress) -> None:
        if not publishing.acquire(blocking=False):
            overlaps.append(said)
            return
        time.sleep(0.001)
        publishing.release()

    progress = Progress(publish)

    def download(thread: int) -> None:
        for done in range(20):
            progress.downloading("a model", 100 * thread + done, 1000)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(download, range(4)))
    assert overlaps == []
