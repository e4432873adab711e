"""Students: the student before and after training, tested on the same records and timed in turn."""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from kubedistill.canonical import digest
from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import ServingFigures
from kubedistill.report.models import LatencyControl
from kubedistill.stored import read_stored_json
from kubedistill_runtime.choices import STUDENT_AT, Choices
from kubedistill_runtime.evaluation.arms import Tested
from kubedistill_runtime.evaluation.figures import figures_of
from kubedistill_runtime.evaluation.prices import Price, cost_per_thousand, student_price
from kubedistill_runtime.models import Model
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Record
from kubedistill_runtime.serving.alternation import (
    Alternation,
    Latency,
    StudentName,
    Untimed,
    alternate,
    same_architecture,
)
from kubedistill_runtime.serving.engine import Engine, Engines, Sampling
from kubedistill_runtime.serving.figures import Machine
from kubedistill_runtime.serving.shared_engine import SharedEngine
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.student_format import student_serving
from kubedistill_runtime.teachers.generate import Measurement, generate_answers
from kubedistill_runtime.teachers.requests import GenerationResult, Request

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Students:
    """Both students after the test, and the comparison of their times."""

    tested: dict[str, Tested]
    figures: ServingFigures
    """Of the distilled student."""
    control: LatencyControl | None
    tokens: int = 0
    """Tokens that both generated now; 0 if the cache had every answer."""
    untimed: str = ""
    """Why they were not timed in turn, if so; then their times come from two engines."""


def compare_students(
    job: StageJob,
    choices: Choices,
    *,
    models: Mapping[StudentName, Model],
    records: Sequence[Record],
    answer_tokens: int | None,
    engines: Engines,
    store: Store,
    progress: Progress,
) -> Students:
    """Let both students answer the records greedily, and time them in turn in the second one's engine.

    `answer_tokens` is the teacher's median length of an answer, if known.
    """
    request = Request(records, Sampling(max_tokens=job.spec.generation.max_tokens))
    machine = Machine(engines.hardware(gpus=1), job.pools.student)

    def test(name: StudentName, *also: Measurement) -> GenerationResult[ServingFigures]:
        return generate_answers(
            {name: request},
            serving=student_serving(models[name], choices=choices),
            at=STUDENT_AT,
            open_engine=shared.open if alike else engines.open,
            store=store,
            progress=progress,
            machine=machine,
            also=also,
        )

    alike, timed = same_architecture(models["baseline"], models["distilled"]), None
    with contextlib.closing(SharedEngine(engines)) as shared:
        baseline = test("baseline")
        if not alike:
            distilled, untimed = test("distilled"), "their architectures differ, so one engine can't run both"
        else:
            tokens = answer_tokens or baseline.figures.answer_tokens or 1
            timing = _timing(models, answer_tokens=tokens, choices=choices, machine=machine, progress=progress)
            try:
                distilled = test("distilled", timing)
                timed, untimed = read_stored_json(Alternation, distilled.measured[timing.name]), ""
            except Untimed as error:  # nothing is stored, so a later run tries again
                log.warning("the students were not timed in turn", exc_info=error)
                distilled, untimed = test("distilled"), str(error)

    latencies = {"baseline": timed.baseline, "distilled": timed.distilled} if timed else {}
    results: dict[StudentName, GenerationResult[ServingFigures]] = {"baseline": baseline, "distilled": distilled}
    return Students(
        {
            name: _tested(result, name=name, model=models[name], latency=latencies.get(name), price=student_price(job))
            for name, result in results.items()
        },
        distilled.figures,
        timed.control if timed else None,
        baseline.tokens + distilled.tokens,
        untimed,
    )


def _tested(
    result: GenerationResult[ServingFigures], *, name: StudentName, model: Model, latency: Latency | None, price: Price
) -> Tested:
    """Return a student's answers and figures; the times of the alternation replace those from its own engine."""
    figures = result.figures.model_copy(update=dict(latency)) if latency else result.figures
    cost = cost_per_thousand(figures, price)
    known = figures_of(figures, parameters=model.parameters, cost_per_thousand=cost)
    return Tested(list(result.pending[name].answers()), known)


def _timing(
    models: Mapping[StudentName, Model], *, answer_tokens: int, choices: Choices, machine: Machine, progress: Progress
) -> Measurement:
    """Return the alternation as a measurement that is stored for these models, this length and this machine."""
    max_model_len = student_serving(models["distilled"], choices=choices).max_model_len

    def report(done: int, rounds: int) -> None:
        message = "timing the students in turn"
        progress.working(done=done, total=rounds, unit="rounds", message=message)

    def take(engine: Engine, prompts: Sequence[Sequence[int]]) -> Alternation:
        return alternate(
            engine,
            prompts,
            students=models,
            answer_tokens=answer_tokens,
            max_model_len=max_model_len,
            clock=time.monotonic,
            report=report,
        )

    key = {"baseline": models["baseline"].digest, "answerTokens": answer_tokens, **asdict(machine)}
    return Measurement(f"in-turn-{digest(key)}", take)
