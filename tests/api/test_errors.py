"""The error tree: each error names place, problem and fix, and survives the way between processes."""

import pickle

import pytest

from kubedistill import errors


def all_errors() -> list[type[errors.KubedistillError]]:
    found, queue = [], [errors.KubedistillError]
    while queue:
        kind = queue.pop()
        found.append(kind)
        queue += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", all_errors())
def test_error_survives_pickling(kind: type[errors.KubedistillError]) -> None:
    error = kind("it broke", at="job.yaml:3", fix="Fix it")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, "job.yaml:3: it broke. Fix it")


@pytest.mark.parametrize("kind", all_errors())
def test_user_errors_are_value_errors_with_exit_code_2(kind: type[errors.KubedistillError]) -> None:
    assert issubclass(kind, ValueError) == (kind.exit_code == errors.EXIT_BAD_INPUT)
