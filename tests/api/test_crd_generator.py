"""The CRD generator: what it translates, and what it refuses by its dotted path."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from kubedistill.schema.crd import NotStructural, Schema, structural_schema


class Inner(BaseModel):
    deep: str


UNFIT: dict[str, tuple[Any, str]] = {
    "a string without maximum": (str, "root.field: a string needs max_length"),
    "one further down": (Inner, "root.field.deep: a string needs max_length"),
    "one in a list": (Annotated[list[Inner], Field(max_length=2)], "root.field[].deep: a string needs max_length"),
    "a list without maximum": (list[int], "root.field: a list needs max_length"),
    "a union": (int | bool, "root.field: a union"),
    "a map": (dict[str, int], "root.field: a map of free keys"),
    "anything": (Any, "root.field: a field needs a type"),
    "a mixed tuple": (tuple[int, bool], "root.field: a tuple of different types"),
    "a set": (Annotated[frozenset[int], Field(max_length=2)], "root.field: uniqueItems can't be converted"),
    "a multiple": (Annotated[int, Field(multiple_of=2)], "root.field: multipleOf can't be converted"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_generator_names_the_field_that_does_not_fit(case: str) -> None:
    kind, problem = UNFIT[case]
    model = type("Unfit", (BaseModel,), {"__annotations__": {"field": kind}})
    with pytest.raises(NotStructural) as caught:
        structural_schema(model, at="root", defaults=True)
    assert str(caught.value).startswith(problem)


class Tree(BaseModel):
    branch: "Tree | None" = None


def test_generator_refuses_recursion() -> None:
    with pytest.raises(NotStructural, match="nested too deeply"):
        structural_schema(Tree, at="tree", defaults=True)


class Limits(BaseModel):
    over: Annotated[float, Field(gt=0, lt=1)] = 0.5
    pair: tuple[int, int] = (1, 2)
    one: Literal["Only"] = "Only"
    maybe: bool | None = None


class Shop(BaseModel):
    """What is
    sold."""

    limits: Limits = Limits()
    listed: Annotated[list[Limits], Field(max_length=3)] = [Limits(over=0.25, maybe=True)]


LIMITS: Schema = {
    "over": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1, "exclusiveMaximum": True},
    "pair": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}},
    "one": {"type": "string", "enum": ["Only"]},
    "maybe": {"type": "boolean"},
}
DEFAULTS = {"over": 0.5, "pair": [1, 2], "one": "Only"}


def test_generator_translates_what_it_knows() -> None:
    filled = {name: field | ({"default": DEFAULTS[name]} if name in DEFAULTS else {}) for name, field in LIMITS.items()}
    assert structural_schema(Shop, at="shop", defaults=True) == {
        "type": "object",
        "description": "What is sold.",
        "properties": {
            "limits": {"type": "object", "properties": filled, "default": {}},
            "listed": {
                "type": "array",
                "maxItems": 3,
                "items": {"type": "object", "properties": LIMITS},
                "default": [{"over": 0.25, "pair": [1, 2], "one": "Only", "maybe": True}],
            },
        },
    }
