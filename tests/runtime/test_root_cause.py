"""Root causes: the innermost error of a chain, in one line."""

import itertools
from collections.abc import Callable

import pytest
from pydantic import BaseModel, model_validator
from ray.exceptions import RayTaskError

from kubedistill.errors import InvalidModel, StorageUnavailable
from kubedistill_runtime.root_cause import describe_cause, find_root_cause


def chained(*errors: Exception) -> Exception:
    """Raise errors from one another, the first one innermost; returns the last."""
    for inner, outer in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[-1]


def rayed(cause: Exception, *, traceback: str = "") -> Exception:
    """What ray.get raises where an actor raised this."""
    text = f"\x1b[36mray::VllmActor.generate()\x1b[39m (pid=1, ip=127.0.0.1)\n{traceback}{cause}"
    error = RayTaskError("generate", text, cause, "ray::VllmActor", 1, "127.0.0.1")
    return error.as_instanceof_cause()  # type: ignore[no-any-return]


class Unpicklable(Exception):
    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("it holds a lock")


class Strict(BaseModel):
    name: str

    @model_validator(mode="after")
    def refuse(self) -> "Strict":
        raise ValueError(f"architecture {self.name} is not supported")


def refused(**values: object) -> Exception:
    try:
        Strict.model_validate(values)
    except ValueError as error:
        return error
    raise AssertionError("it takes nothing")


@pytest.mark.parametrize(
    ("make", "root", "line"),
    [
        pytest.param(lambda: ValueError("one\nand more"), ValueError, "one", id="first line"),
        pytest.param(lambda: ValueError("\n\n  one  \n"), ValueError, "one", id="blank lines"),
        pytest.param(ValueError, ValueError, "ValueError", id="silent"),
        pytest.param(
            lambda: chained(OSError("disk"), KeyError("k"), RuntimeError("outer")), OSError, "disk", id="raise from"
        ),
        pytest.param(
            lambda: rayed(RuntimeError("head_dim=20"), traceback="Traceback\n"), RuntimeError, "head_dim=20", id="Ray"
        ),
        pytest.param(
            lambda: chained(rayed(rayed(ValueError("deep"))), RuntimeError("outer")), ValueError, "deep", id="Ray twice"
        ),
        pytest.param(
            lambda: RuntimeError("\x1b[31mred\x1b[0m and \x1b[1;36mcyan\x1b[39m"), RuntimeError, "red and cyan",
            id="colors",
        ),
        pytest.param(
            lambda: refused(name="Foo"), ValueError, "architecture Foo is not supported", id="a validator's error"
        ),
        pytest.param(
            lambda: rayed(refused(name="Foo")), ValueError, "architecture Foo is not supported", id="both"
        ),
        pytest.param(lambda: StorageUnavailable("full"), StorageUnavailable, "full", id="our cause is a word"),
    ],
)  # fmt: skip
def test_the_innermost_error_speaks(make: Callable[[], Exception], root: type[Exception], line: str) -> None:
    error = make()
    assert isinstance(find_root_cause(error), root)
    assert describe_cause(error) == line


def test_a_field_that_is_missing_is_said_without_count_and_link() -> None:
    assert describe_cause(refused()) == "Field required"


def test_a_cause_that_no_pickle_holds_is_the_last_line_of_its_traceback() -> None:
    text = 'ray::A.b() (pid=1)\nTraceback (most recent call last):\n  File "a", line 1\nmodule.Unpicklable: it broke\n'
    error = RayTaskError("b", text, Unpicklable("it broke"), "ray::A", 1, "127.0.0.1")
    assert describe_cause(error) == "module.Unpicklable: it broke"


def test_an_error_of_ours_that_came_over_ray_is_found_whole() -> None:
    found = find_root_cause(rayed(InvalidModel("no", at="spec.student", fix="Use another")))
    assert type(found) is InvalidModel
    assert (found.at, found.fix) == ("spec.student", "Use another")


def test_a_circle_has_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert describe_cause(one) == "other"


def test_an_endless_line_is_cut() -> None:
    assert len(describe_cause(ValueError("x" * 10_000))) <= 401
