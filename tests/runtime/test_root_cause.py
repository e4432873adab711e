"""Root causes: the innermost error of a chain, in one line."""

import itertools
from collections.abc import Callable

import pytest
from pydantic import BaseModel, field_validator, model_validator
from ray.exceptions import RayTaskError

from kubedistill.errors import InvalidModel, StorageUnavailable
from kubedistill_runtime.root_cause import describe_cause, find_root_cause, name_cause


def chained(*errors: Exception) -> Exception:
    """Raise errors from one another, the first one innermost; returns the last."""
    for inner, outer in itertools.pairwise(errors):
        outer.__cause__ = inner
    return errors[-1]


def rayed(cause: Exception, *, traceback: str = "") -> Exception:
    """Return what ray.get raises where an actor raised this."""
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


class Layer(BaseModel):
    size: int
    heads: int

    @field_validator("heads")
    @classmethod
    def refuse_odd(cls, heads: int) -> int:
        if heads % 2:
            raise ValueError(f"{heads} heads can't be paired")
        return heads


class Config(BaseModel):
    name: str
    layers: list[Layer]


GOOD_LAYER = {"size": 1, "heads": 2}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        pytest.param({"layers": []}, "name: Field required", id="missing"),
        pytest.param({}, "2 errors: name: Field required", id="two missing"),
        pytest.param(
            {"name": "a", "layers": [GOOD_LAYER, {"heads": 2}]}, "layers.1.size: Field required", id="deep"
        ),
        pytest.param(
            {"name": "a", "layers": [{"size": 1, "heads": 3}]}, "layers.0.heads: 3 heads can't be paired",
            id="a field's validator",
        ),
        pytest.param(
            {"layers": [GOOD_LAYER, {"size": 1, "heads": 3}]}, "2 errors: layers.1.heads: 3 heads can't be paired",
            id="a field's validator and another field",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda error: error, rayed], ids=["here", "over Ray"])
def test_a_field_that_is_wrong_is_named_without_a_link(
    wrap: Callable[[Exception], Exception], values: dict[str, object], line: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its words are what is tested
        Config.model_validate(values)
    assert describe_cause(wrap(caught.value)) == line


@pytest.mark.parametrize(
    ("make", "line"),
    [
        pytest.param(lambda: KeyError("lm_head.bias"), "KeyError: 'lm_head.bias'", id="alone"),
        pytest.param(
            lambda: chained(KeyError("lm_head.bias"), ValueError("the weights have no bias")),
            "the weights have no bias", id="outer",
        ),
        pytest.param(
            lambda: chained(IndexError("list index out of range"), RuntimeError(), OSError("torn file")),
            "torn file", id="a silent one between",
        ),
        pytest.param(lambda: chained(StopIteration(), RuntimeError("no shard")), "no shard", id="StopIteration"),
        pytest.param(StopIteration, "StopIteration", id="silent"),
        pytest.param(lambda: chained(KeyError("a"), IndexError("b")), "KeyError: 'a'", id="all are bare"),
        pytest.param(lambda: rayed(KeyError("lm_head.bias")), "KeyError: 'lm_head.bias'", id="Ray"),
        pytest.param(
            lambda: rayed(KeyError("a"), traceback="Traceback (most recent call last):\n  File\nKeyError: "),
            "KeyError: 'a'", id="Ray's traceback is not an outer text",
        ),
        pytest.param(
            lambda: chained(rayed(KeyError("a")), InvalidModel("no such weight", at="student")),
            "student: no such weight", id="ours over Ray",
        ),
        pytest.param(lambda: chained(ValueError(), RuntimeError("can't read it")), "can't read it", id="silent cause"),
        pytest.param(lambda: chained(AssertionError(), KeyError("a")), "AssertionError", id="silent, and a bare one"),
    ],
)  # fmt: skip
def test_a_cause_that_says_less_than_what_was_raised_from_it_does_not_speak(
    make: Callable[[], Exception], line: str
) -> None:
    assert describe_cause(make()) == line


@pytest.mark.parametrize(
    ("make", "line"),
    [
        pytest.param(lambda: chained(KeyError("a"), RuntimeError("it failed")), "KeyError: 'a'", id="bare"),
        pytest.param(lambda: rayed(ValueError("deep")), "ValueError: deep", id="Ray"),
        pytest.param(StopIteration, "StopIteration: StopIteration", id="silent"),
        pytest.param(refused, "ValidationError: name: Field required", id="a field"),
    ],
)
def test_with_its_type_the_innermost_error_always_speaks(make: Callable[[], Exception], line: str) -> None:
    assert name_cause(make()) == line


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
