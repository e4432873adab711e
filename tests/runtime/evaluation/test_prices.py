"""Prices: a price is put over figures of its own pool and GPUs, and of no other; an endpoint's over its tokens."""

import pytest

from kubedistill.contract import Pools, Prices, StageJob
from kubedistill.contract.artifacts import EndpointFigures
from kubedistill_runtime.evaluation.prices import (
    Price,
    cost_per_thousand,
    hourly_price,
    student_price,
    teacher_price,
    why_unpriced,
)
from support import three_models
from support.job_folder import JobFolder

PRICES = Prices(teacher=8.0, student=2.0)


@pytest.fixture
def job(job_folder: JobFolder) -> StageJob:
    job_folder.prices = PRICES
    job_folder.set("teachers.0.model.tensorParallelSize", 2)
    job_folder.set("teachers.0.model.pipelineParallelSize", 2)
    return job_folder.stage_job("Evaluate")


def price_of(name: str, *, job: StageJob) -> Price:
    return teacher_price(job.spec.teachers[0], job=job) if name == "teacher" else student_price(job)


@pytest.mark.parametrize(
    ("name", "measured", "gpus", "pools", "price"),
    [
        pytest.param("teacher", "", 4, Pools(), 8.0, id="one machine"),
        pytest.param("teacher", "h100", 4, Pools(teacher="h100"), 8.0, id="the same pool"),
        pytest.param("student", "l4", 1, Pools(teacher="h100", student="l4"), 2.0, id="each its own pool"),
        pytest.param("teacher", "", 0, Pools(), 8.0, id="figures of an older version"),
        pytest.param("teacher", "h100", 4, Pools(teacher="h200"), None, id="moved to another pool"),
        pytest.param("teacher", "", 0, Pools(teacher="h200"), None, id="older figures in a cluster"),
        pytest.param("teacher", "h100", 4, Pools(), None, id="moved to one machine"),
        pytest.param("student", "h100", 1, Pools(teacher="h100", student="l4"), None, id="the other model's pool"),
        pytest.param("teacher", "h100", 8, Pools(teacher="h100"), None, id="twice the GPUs"),
    ],
)
def test_a_move_gives_no_new_price_over_old_throughput(
    name: str, measured: str, gpus: int, pools: Pools, price: float | None, job: StageJob
) -> None:
    job = job.model_copy(update={"pools": pools})
    figures = three_models.figures(pool=measured, gpus=gpus)
    found = price_of(name, job=job)
    assert hourly_price(figures, found) == price
    assert bool(why_unpriced(figures, found)) is (price is None)


def test_without_a_price_there_is_nothing_to_explain(job: StageJob) -> None:
    job = job.model_copy(update={"prices": Prices(), "pools": Pools(teacher="h200")})
    figures = three_models.figures(pool="h100")
    price = price_of("teacher", job=job)
    assert (hourly_price(figures, price), why_unpriced(figures, price)) == (None, "")


def test_the_reason_names_both_pools(job: StageJob) -> None:
    price = price_of("teacher", job=job.model_copy(update={"pools": Pools(teacher="h200")}))
    reason = why_unpriced(three_models.figures(), price)
    assert "no pool" in reason
    assert "h200" in reason


USED = EndpointFigures(endpoint="large (OpenAI)", answers=200, prompt_tokens=40_000, completion_tokens=10_000)
LISTED = {"input": 2.0, "output": 8.0}


@pytest.mark.parametrize(
    ("prices", "figures", "cost"),
    [
        # 200 prompts of 200 tokens at 2 dollars a million, and answers of 50 tokens at 8: 1,000 of both.
        pytest.param(LISTED, USED, 0.4 + 0.4, id="listed"),
        pytest.param(LISTED, USED.model_copy(update={"completion_tokens": 0}), 0.4, id="prompts only"),
        pytest.param({"input": 0.0, "output": 0.0}, USED, 0.0, id="free"),
        pytest.param(None, USED, None, id="unknown"),
        pytest.param(LISTED, USED.model_copy(update={"answers": 0}), None, id="no answer"),
    ],
)
def test_an_endpoint_costs_its_tokens(
    prices: dict[str, float] | None, figures: EndpointFigures, cost: float | None, job_folder: JobFolder
) -> None:
    endpoint = {"model": "large"} | ({"prices": prices} if prices else {})
    job_folder.set("teachers.0", {"name": "main", "endpoint": endpoint})
    price = price_of("teacher", job=job_folder.stage_job("Evaluate"))
    assert cost_per_thousand(figures, price) == (None if cost is None else pytest.approx(cost))
    assert why_unpriced(figures, price) == ""


def test_each_of_several_teachers_has_its_own_price() -> None:
    prices = Prices(teachers={"large": 8.0})
    assert [prices.of_teacher(name) for name in ("large", "small")] == [8.0, None]
    assert [PRICES.of_teacher(name) for name in ("large", "small")] == [8.0, 8.0], "the only teacher, whatever its name"
