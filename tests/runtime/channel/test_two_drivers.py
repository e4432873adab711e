"""Two drivers train for one attempt: the loser finds out at its next word, and nobody continues from what it saved."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import torch

from kubedistill.contract import StageProgress, StageResult
from kubedistill.errors import EXIT_CLAIM_LOST, ClaimLost, Stopped
from kubedistill_runtime.channel.config_map_channel import ConfigMapChannel
from kubedistill_runtime.storage.claims import Claim, read_latest, take_claim
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training.loop import Hooks, Loop
from kubedistill_runtime.training.state import State
from support import tiny_training as tiny
from support.channel_fixtures import Claim as ClaimAttempt
from support.channel_fixtures import Time
from support.config_map_server import ConfigMapServer

LINE = "artifacts/student/key"
TIME = "2026-01-01T00:00:00.000Z"
STEPS = 8
SAMPLES = tiny.make_samples([(3, 4), (1, 9), (6, 1), (2, 2)] * 4)
TRAINING = tiny.make_training(globalBatchSize=4, epochs=2, checkpoint={"everyMinutes": 10})


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sum in one order, whatever the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(slots=True)
class Driver:
    """One driver's training: it continues from the latest state, saves after each step and reports to its channel."""

    channel: ConfigMapChannel
    store: Store
    claim: Claim = field(init=False)
    student: tiny.Student = field(default_factory=tiny.make_student)
    lost: ClaimLost | None = None
    steps: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.claim = take_claim(self.store, LINE)

    def train(
        self, *, leave_at: int | None = None, meanwhile: dict[int, Callable[[], None]] | None = None
    ) -> State | None:
        """Train to the end, to a step, or until the attempt is lost."""

        def report(step: int, steps: int, _figures: dict[str, float]) -> None:
            self.steps.append(step)
            (meanwhile or {}).get(step, lambda: None)()
            try:
                self.channel.publish_progress(StageProgress(at=TIME, state="Working", done=step, total=steps))
            except ClaimLost as lost:
                self.lost = lost

        hooks = Hooks(
            save=lambda step, data: self.claim.save(step, data, keep_last=2),
            report=report,
            stopping=lambda: self.lost is not None or self.steps[-1] == leave_at,
            clock=lambda: len(self.steps) * 600.0,
        )
        try:
            return Loop(self.student, TRAINING, SAMPLES, (), hooks=hooks).run(read_latest(self.store, LINE))
        except Stopped:
            return None

    def end(self) -> None:
        """Tell the result."""
        driver = self.channel.claim.partition(":")[2]
        self.channel.publish_result(StageResult(driver=driver, outcome="Succeeded", started_at=TIME, ended_at=TIME))


@pytest.fixture(scope="module")
def undisturbed(one_thread: None) -> dict[str, torch.Tensor]:
    """Return the weights of a training that nobody interrupts."""
    return tiny.run(TRAINING, tiny.make_student(), train=SAMPLES).weights


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [(10.0, 4), (4.0, 6), (0.0, STEPS)],
    ids=["it speaks at its next step", "it is silent for two steps", "it is silent to the end"],
)
def test_a_loser_ends_at_its_next_report_and_its_state_is_not_resumed(
    seconds: float,
    steps: int,
    claim: ClaimAttempt,
    server: ConfigMapServer,
    store: Store,
    time: Time,
    undisturbed: dict[str, torch.Tensor],
) -> None:
    loser, winners = Driver(claim("loser"), store), []

    def take_over() -> None:
        """While the loser stands still, another claims the attempt, continues to step 4 and is killed."""
        winner = Driver(claim("winner"), store)
        winners.append(winner)
        winner.train(leave_at=4)
        assert winner.steps == [3, 4]

    def pass_time() -> None:
        time.now += seconds

    loser.train(meanwhile={3: take_over} | dict.fromkeys(range(4, STEPS + 1), pass_time))
    assert loser.steps == list(range(1, steps + 1))
    with pytest.raises(ClaimLost) as lost:
        loser.end()
    assert lost.value.exit_code == EXIT_CLAIM_LOST
    assert "result.json" not in server.data

    third = Driver(claim("third"), store)
    state = third.train()
    assert third.steps == [5, 6, 7, 8], "it continues from the winner's step 4, however far the loser went"
    assert state is not None
    for name, value in third.student.state_dict().items():
        assert torch.equal(value, undisturbed[name]), name
    third.end()
    for dead in (loser, *winners):
        with pytest.raises(ClaimLost):
            dead.end()
    assert StageResult.model_validate_json(server.data["result.json"]).driver == "third"
    assert server.data["starts"] == "3"
