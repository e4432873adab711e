"""The arguments of vLLM in a manifest: which are accepted, and which do nothing on CPUs."""

import difflib
from collections.abc import Iterator

from kubedistill.contract import Hardware
from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec, TeacherModel
from kubedistill_runtime.serving.vllm_names import ALLOWED, FIELDS, REFUSED

_Scalar = bool | int | float | str
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}


def check_engine_args(spec: Spec) -> None:
    """Check that the engineArgs of teachers are arguments of vLLM that may be set; raises InvalidManifest."""
    for at, model in _served(spec):
        for name, value in model.engine_arguments.items():
            _check_name(name, at=at)
            kind = ALLOWED[name]
            if not _is(value, kind):
                raise InvalidManifest(
                    f"it is {model.engine_args[name]}, but vLLM takes {_KINDS[kind]}",
                    at=f"{at}.engineArgs.{name}",
                    fix=f"Write {_KINDS[kind]}, or remove it",
                )


def check_cache_dtypes(spec: Spec, *, hardware: Hardware) -> None:
    """Refuse a precision of the cache that no engine on CPUs would use, since keys contain it.

    Raises InvalidManifest.
    """
    for at, model in _served(spec):
        if model.kv_cache_dtype is not None and not hardware.has_gpus:
            raise InvalidManifest(
                f"it is {model.kv_cache_dtype}, but teachers run on CPUs here, where the cache has the model's "
                "precision",
                at=f"{at}.kvCacheDtype",
                fix="Remove it, or name a pool with GPUs",
            )


def describe_ignored(spec: Spec, *, hardware: Hardware) -> list[str]:
    """Return a note for each field for GPUs that does nothing, because teachers run on CPUs."""
    if hardware.has_gpus:
        return []
    fields = [
        (f"{at}.{name}", is_set)
        for at, model in _served(spec)
        for name, is_set in (
            ("expertParallel", model.expert_parallel),
            ("gpuMemoryUtilization", model.gpu_memory_utilization is not None),
            ("engineArgs", bool(model.engine_args)),
        )
    ]
    return [f"{field} has no effect on CPUs" for field, is_set in fields if is_set]


def _served(spec: Spec) -> Iterator[tuple[str, TeacherModel]]:
    """Yield the models that the job serves as teachers, each with its field."""
    for place, teacher in enumerate(spec.teachers):
        if teacher.model is not None:
            yield f"spec.teachers[{place}].model", teacher.model


def _check_name(name: str, *, at: str) -> None:
    place = f"{at}.engineArgs.{name}"
    if name in FIELDS:
        field = f"{at}.{FIELDS[name]}"
        raise InvalidManifest("it is a field of its own", at=place, fix=f"Set {field} instead")
    if name in REFUSED:
        raise InvalidManifest(f"a manifest can't set it: {REFUSED[name]}", at=place, fix="Remove it")
    if name not in ALLOWED:
        close = difflib.get_close_matches(name.replace("-", "_").casefold(), ALLOWED, n=1)
        fix = f"Write {close[0]}" if close else "Remove it; docs/guide.md lists the names"
        raise InvalidManifest("vLLM has no such argument", at=place, fix=fix)


def _is(value: _Scalar, kind: type) -> bool:
    """Return whether a value has the type of an argument; a whole number is also a number, and a truth is neither."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)
