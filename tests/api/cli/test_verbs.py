"""What is said of a request to a job."""

import pytest

from kubedistill.cli.verbs import describe_resumed
from kubedistill.client.job import read_job
from support.job_states import as_object, play


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("a1 Train running", "resumed"),
        ("p1 suspended", "resumed"),
        ("p12 budget spent", "stays suspended: BudgetSpent: 2.01 GPU-hours are spent, and spec.budget.gpuHours is 2"),
    ],
)
def test_a_job_whose_budget_is_spent_is_not_said_to_be_resumed(state: str, expected: str) -> None:
    assert describe_resumed(read_job(as_object(play(state)))).startswith(expected)
