"""vLLM's arguments by name: each of them is allowed, a field of the spec, or refused with a reason."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from kubedistill.v1alpha1 import TeacherModel
from kubedistill_runtime.serving.vllm_names import ALLOWED, FIELDS, REFUSED


def engine_fields() -> dict[str, object]:
    """Return the arguments of the installed vLLM with their types."""
    from vllm.engine.arg_utils import EngineArgs

    return {field.name: field.type for field in dataclasses.fields(EngineArgs)}


def test_every_argument_of_vllm_is_in_exactly_one_table() -> None:
    named = [*ALLOWED, *FIELDS, *REFUSED]
    assert sorted(named) == sorted(engine_fields())


def test_fields_of_the_spec_have_their_names() -> None:
    aliases = {field.alias for field in TeacherModel.model_fields.values()}
    assert set(FIELDS.values()) <= aliases


def test_what_is_allowed_is_a_scalar_of_vllm() -> None:
    for name, kind in ALLOWED.items():
        options = {*options_of(engine_fields()[name])} - {None, type(None)}
        words = {one for one in options if isinstance(one, str)}
        numbers = {one for one in options if isinstance(one, type) and issubclass(one, int | float)}
        names = {one for one in options if isinstance(one, type) and issubclass(one, Enum)} - numbers
        assert words | numbers | names == options, name
        assert words or names if kind is str else numbers, name


def options_of(annotation: object) -> Iterator[object]:
    """Yield the members of a union, and the words of a literal."""
    parts = typing.get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from options_of(part)


def test_the_guide_lists_what_is_allowed() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"`engineArgs` takes these arguments.*?\n\n(.*?)\n\n", guide, re.DOTALL)
    assert re.findall(r"`(\w+)`", listed) == list(ALLOWED)
