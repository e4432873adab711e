"""Reading of JSON that another process or another version wrote. Unknown fields are ignored.

New fields of a stored model have defaults, and new rules check `is_stored`, so that older JSON stays readable.
"""

import json
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationInfo

from kubedistill.json_values import Json

Stored = TypeVar("Stored", bound=BaseModel)
_Value = TypeVar("_Value")
_STORED = {"stored": True}


def is_stored(info: ValidationInfo) -> bool:
    """Return whether a validator checks stored values, which an earlier version may have accepted by fewer rules."""
    return info.context == _STORED


def read_stored(model: type[Stored], values: Json) -> Stored:
    """Read JSON values, and ignore unknown fields at every depth; raises ValidationError."""
    return read_stored_json(model, json.dumps(values))


def read_stored_json(model: type[Stored], text: str | bytes) -> Stored:
    """Read JSON text, and ignore unknown fields at every depth; raises ValidationError."""
    return model.model_validate_json(text, extra="ignore", by_alias=True, by_name=False, context=_STORED)


def read_stored_line(kind: TypeAdapter[_Value], text: str | bytes) -> _Value:
    """Read JSON text of one of several models, and ignore unknown fields at every depth; raises ValidationError."""
    return kind.validate_json(text, extra="ignore", by_alias=True, by_name=False, context=_STORED)
