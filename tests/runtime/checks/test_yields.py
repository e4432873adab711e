"""Whether the samples have what the objective learns from."""

import pytest

from kubedistill.contract.artifacts import SamplesFigures
from kubedistill.errors import InvalidManifest
from kubedistill_runtime.checks.yields import check_distributions
from support.messages import CheckMessage


def samples(count: int, *, without: int) -> SamplesFigures:
    return SamplesFigures(samples=count, overlong=0, without_logprobs=without)


@pytest.mark.parametrize(("objective", "without"), [("CachedLogits", 39), ("CachedLogits", 0), ("Sequence", 40)])
def test_one_distribution_is_enough_and_text_needs_none(objective: str, without: int) -> None:
    check_distributions(samples(40, without=without), objective=objective)


def test_an_objective_of_distributions_does_not_learn_from_text_alone(check_message: CheckMessage) -> None:
    with pytest.raises(InvalidManifest) as refused:
        check_distributions(samples(40, without=40), objective="CachedLogits")
    assert refused.value.at == "spec.training.objective.type"
    check_message(refused.value)
