"""Missing dependencies: errors that a retry cannot fix, recognized whatever they are wrapped in."""

from collections.abc import Callable

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from kubedistill.errors import EngineLost, InvalidModel, MissingDependency, ModelDoesNotFit
from kubedistill_runtime.dependencies import missing_dependency

COMPILER = (
    "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')\n\n"
    "Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace"
)  # fmt: skip
LIBRARY = "libcublasLt.so.13: cannot open shared object file: No such file or directory"
MISSING = {
    "Inductor's compiler": (RuntimeError(COMPILER), COMPILER.splitlines()[0]),
    "Triton's compiler": (RuntimeError("Failed to find C compiler. Please specify via CC."), "find C compiler"),
    "a library": (OSError(LIBRARY), LIBRARY),
    "an older library": (ImportError("libc.so.6: version `GLIBC_2.38' not found (required by a.so)"), "GLIBC_2.38"),
    "another build": (ImportError("a.so: undefined symbol: _ZN3c106SymInt"), "undefined symbol"),
    "a package": (ModuleNotFoundError("No module named 'timm'"), "No module named 'timm'"),
    "a package of a model's code": (
        ImportError("This file requires the following packages that were not found in your environment: einops."),
        "einops",
    ),
}  # fmt: skip
OTHERS = [
    RuntimeError("Unsupported CPU attention configuration: head_dim=20"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    FileNotFoundError(2, "No such file or directory", "model.safetensors"),
    KeyError("lm_head.bias"),
    ModelDoesNotFit("no room"),
]


def over_ray(cause: Exception) -> Exception:
    """Return what a call of an actor's method raises."""
    text = f"\x1b[36mray::VllmActor.generate()\x1b[39m (pid=113, ip=10.0.0.1)\nTraceback\n{cause}"
    return RayTaskError("generate", text, cause, "ray::VllmActor", 113, "10.0.0.1").as_instanceof_cause()  # type: ignore[no-any-return]


def in_the_actors_start(cause: Exception) -> Exception:
    """Return what every call of an actor raises that could not start; its cause is text alone."""
    text = (
        "\x1b[36mray::VllmActor.__init__()\x1b[39m (pid=113, ip=10.0.0.1)\nTraceback (most recent call last):\n"
        f'  File "vllm_engine.py", line 44, in __init__\n{type(cause).__name__}: {str(cause).splitlines()[0]}'
    )
    return ActorDiedError(RayTaskError("__init__", text, cause, "ray::VllmActor", 113, "10.0.0.1"))


def wrapped(cause: Exception) -> Exception:
    outer = RuntimeError("Failed to import transformers.models.llama")
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    "wrap", [lambda one: one, over_ray, in_the_actors_start, wrapped], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("what", MISSING)
def test_what_the_environment_lacks_is_named_and_not_retried(what: str, wrap: Callable[[Exception], Exception]) -> None:
    error, named = MISSING[what]
    found = missing_dependency(wrap(error), at="Generate")
    assert found is not None
    assert (found.reason, found.cause, found.at) == ("MissingDependency", "user", "Generate")
    assert named in found.problem
    assert not set("\x1b\n") & set(found.problem)
    assert "ray::" not in found.problem
    assert "image" in found.fix


@pytest.mark.parametrize(
    "wrap", [lambda one: one, over_ray, in_the_actors_start, wrapped], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("error", OTHERS, ids=lambda one: type(one).__name__)
def test_any_other_error_is_none(error: Exception, wrap: Callable[[Exception], Exception]) -> None:
    assert missing_dependency(wrap(error), at="Generate") is None


@pytest.mark.parametrize("decided", [InvalidModel("No module named 'timm'"), EngineLost(LIBRARY)])
def test_what_was_decided_where_it_was_raised_stays_so(decided: Exception) -> None:
    assert missing_dependency(over_ray(decided), at="Generate") is None


def test_what_was_found_missing_before_keeps_its_place() -> None:
    found = missing_dependency(over_ray(MissingDependency(LIBRARY, at="spec.student", fix="Add it")), at="Ray")
    assert (type(found), getattr(found, "at", "")) == (MissingDependency, "spec.student")
