"""Failures of workers: what Ray Train wraps around an error, and what is reported."""

import pytest
from ray.exceptions import RayTaskError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback

from kubedistill.errors import KubedistillError, MissingDependency, StorageUnavailable, TrainingFailed
from kubedistill_runtime.training.workers import _original

LIBRARY = "libgomp.so.1: cannot open shared object file: No such file or directory"


class GroupFailed(Exception):
    """As Ray Train raises it: the failure of each worker by its rank."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__("the worker group failed")
        self.worker_failures = dict(enumerate(failures))


def over_ray(cause: Exception) -> Exception:
    text = f"\x1b[36mray::RayTrainWorker.poll()\x1b[39m (pid=9)\nTraceback (most recent call last):\n{cause}"
    return RayTaskError("poll", text, cause, "ray::RayTrainWorker", 9, "10.0.0.1")


def in_the_loop(cause: Exception) -> Exception:
    text = f'Traceback (most recent call last):\n  File "loop.py", line 1\n{type(cause).__name__}: {cause}\n'
    return UserExceptionWithTraceback(cause, text)


@pytest.mark.parametrize(
    ("failure", "kind", "problem"),
    [
        pytest.param(over_ray(ValueError("no row")), TrainingFailed, "a worker failed: no row", id="over Ray"),
        pytest.param(
            in_the_loop(ValueError("no row")), TrainingFailed, "a worker failed: ValueError: no row", id="in the loop"
        ),
        pytest.param(over_ray(OSError(LIBRARY)), MissingDependency, LIBRARY, id="a library over Ray"),
        pytest.param(in_the_loop(OSError(LIBRARY)), MissingDependency, f"OSError: {LIBRARY}", id="a library"),
        pytest.param(over_ray(StorageUnavailable("full")), StorageUnavailable, "full", id="ours"),
    ],
)
def test_a_workers_error_is_told_without_what_is_wrapped_around_it(
    failure: Exception, kind: type[KubedistillError], problem: str
) -> None:
    found = _original(GroupFailed(failure))
    assert type(found) is kind
    assert found.problem == problem
