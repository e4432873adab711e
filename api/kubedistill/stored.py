"""Stored JSON: what another process or another version wrote. Fields that a model does not know are ignored.

New fields of a stored model have defaults, and new rules ask `is_stored`: what an earlier version wrote stays readable.
"""

import json
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationInfo

from kubedistill.json_values import Json

Stored = TypeVar("Stored", bound=BaseModel)
_Value = TypeVar("_Value")
_STORED = {"stored": True}


def is_stored(info: ValidationInfo) -> bool:
    """Return whether a validator is given stored values, which an earlier version may have taken by fewer rules."""
    return info.context == _STORED


def read_stored(model: type[Stored], values: Json) -> Stored:
    """Read JSON values, ignoring unknown fields at every depth. Raises ValidationError."""
    return read_stored_json(model, json.dumps(values))


def read_stored_json(model: type[Stored], text: str | bytes) -> Stored:
    """Read JSON text, ignoring unknown fields at every depth. Raises ValidationError."""
    return model.model_validate_json(text, extra="ignore", by_alias=True, by_name=False, context=_STORED)


def read_stored_line(kind: TypeAdapter[_Value], text: str | bytes) -> _Value:
    """Read JSON text of one of several models, ignoring unknown fields at every depth. Raises ValidationError."""
    return kind.validate_json(text, extra="ignore", by_alias=True, by_name=False, context=_STORED)
