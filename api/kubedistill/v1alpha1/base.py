"""The base of all resource models: camelCase in JSON, frozen in memory, unknown fields refused."""

import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from kubedistill.stored import is_stored


@dataclass(frozen=True, slots=True)
class NewForm:
    """The form of a string in new specs. Stored strings may have another, because earlier versions accepted any."""

    pattern: str
    """Pattern for the CRD; `$` matches only the end of the string."""
    kind: str
    """Name of the error in problems.py, which has the fix."""
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the form of a string after all other checks."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the pattern."""
        return handler(schema) | {"pattern": self.pattern}

    def _check(self, text: str, info: ValidationInfo) -> str:
        if not is_stored(info) and re.fullmatch(self.pattern.removesuffix("$"), text) is None:
            raise PydanticCustomError(self.kind, self.message)
        return text


def _check_uri(uri: str) -> str:
    """Check that a string is a path or a URI."""
    try:
        urlsplit(uri)
    except ValueError as error:
        raise ValueError(f"neither a path nor a URI ({error}); Fix its brackets") from error
    return uri


NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DATA_KEY = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"
DOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
Fraction = Annotated[float, Field(ge=0, le=1)]
ONE_LINE = NewForm(r"^[^\x00-\x1f\x7f-\x9f]*$", "one_line", "String should be one line without control characters")
SOME_LINES = NewForm(
    r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$", "some_lines", "String should have no control characters but tab and newline"
)
HTTP_URL = NewForm(
    r"^https?://[^\s/@?#]+(/[^\s?#]*)?$", "http_url", "String should be an http:// or https:// URL without a password"
)
Uri = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_check_uri), ONE_LINE]
HttpUrl = Annotated[str, Field(min_length=1, max_length=1024), HTTP_URL]
"""A base URL, without user, password, query and fragment: keys belong in a Secret."""
Word = Annotated[str, Field(min_length=1, max_length=128), ONE_LINE]
"""A name outside of Kubernetes: a revision, a label of answers."""
ObjectReference = Annotated[
    str,
    Field(min_length=1, max_length=253),
    NewForm(f"^{DOMAIN}$", "object_name", "String should be the name of an object in Kubernetes"),
]
DataKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    NewForm(DATA_KEY, "data_key", "String should be a key of a ConfigMap"),
]
"""A key of a ConfigMap, which is also a file name: never `..` or a path."""
Name = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Model(BaseModel):
    """One object of the resource; docstrings under fields become the CRD's descriptions."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def keyed_by(field: str) -> JsonDict:
    """Build the schema extra that makes the API server treat a list as a map with this field as its key."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]}


def cel(*rules: tuple[str, str]) -> JsonDict:
    """Build the schema extra that makes the API server check (rule, message) pairs."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}
