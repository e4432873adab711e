"""Bodies of successful responses: read what a reply needs, and forgive whatever else is in another form.

A reply is paid for. A part of its body that nothing depends on, such as its usage, must not throw it away.
"""

import json
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from kubedistill.json_values import Json
from kubedistill_runtime.endpoints.failures import RequestFailed

_Body = TypeVar("_Body", bound=BaseModel)


def _forgive(value: Json, validate: ValidatorFunctionWrapHandler) -> object:
    """Return a value in the form that is read, or None."""
    try:
        return validate(value)
    except ValidationError:
        return None


Count = Annotated[Annotated[int, Field(ge=0, lt=2**31)] | None, WrapValidator(_forgive)]
"""A number of tokens; None if the endpoint states none, or no number that can be one."""
Words = Annotated[str | None, WrapValidator(_forgive)]
"""A string that is only reported."""
Flag = Annotated[bool | None, WrapValidator(_forgive)]
Forgiving = WrapValidator(_forgive)
"""Reads a part that may be missing, and takes it as missing if it is in another form."""


class Part(BaseModel):
    """One part of a content: text, or reasoning and others, which are not read."""

    type: str = ""
    text: Words = None


def join_text(content: str | list[Part] | None) -> str:
    """Return the text of a content, a string or parts."""
    if isinstance(content, list):
        return "".join(part.text or "" for part in content if part.type == "text")
    return content or ""


def read_body(body: bytes, *, form: type[_Body], what: str) -> _Body:
    """Return a body in its form; raises RequestFailed if it is not in that form."""
    try:
        return form.model_validate_json(_replace_halves(body))
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
    if body.lstrip()[:1] == b"<":
        raise RequestFailed("WebPage", f"a web page and not a {what}")
    if body.lstrip().startswith((b"data:", b"event:")):
        problem = "it is a stream of events, which was not asked for"
    raise RequestFailed("Unusable", f"not a {what}: {problem}")


def _replace_halves(body: bytes) -> bytes:
    """Return a body of JSON without halves of surrogate pairs, which some servers leave of a character that was cut."""
    if b"\\ud" not in body.lower():
        return body
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):  # it is not JSON, which its reader says
        return body
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
