"""Lines: the JSON values in exported files, and the halves of a batch as one line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kubedistill.errors import InvalidData
from kubedistill.json_values import Json, JsonObject, as_object

_BOTH = "Name the file with the input of the batch, too"


@dataclass(frozen=True, slots=True)
class Line:
    """One value of a file; a value that is not JSON is its text, with the problem."""

    value: Json
    place: str
    problem: str = ""


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the values of a file of JSON lines, of a JSON array, or of a page of a list in OpenAI's API.

    Raises InvalidData if the file can't be read or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidData(f"the file can't be read ({error.strerror})", at=str(path), fix="Name a file") from error
    except UnicodeDecodeError as error:
        raise InvalidData("the file is not UTF-8", at=str(path), fix="Unpack or convert it") from error
    whole = _decode(text, place=str(path))
    if not whole.problem and (values := _list_in(whole.value)) is not None:
        yield from (Line(value, f"{path}: item {number}") for number, value in enumerate(values, start=1))
        return
    if not whole.problem and text.strip().count("\n"):  # one object of several lines
        yield whole
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _decode(line, place=f"{path}:{number}")


def join_batches(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield all lines, but each result of a batch within the line of its request, wherever both are.

    A result without a request, and the second one of two with the same custom_id, gets a problem.
    """
    others, requests, results = list[Line](), dict[str, Line](), list[tuple[str, Line]]()
    for line in lines:
        value = as_object(line.value)
        name = str(value.get("custom_id"))
        if "custom_id" in value and "body" in value and "response" not in value and name not in requests:
            requests[name] = line
        elif "custom_id" in value and "response" in value and "body" not in value:
            results.append((name, line))
        elif "custom_id" in value and name in requests:
            others.append(Line(line.value, line.place, f"custom_id {name!r} is used twice"))
        else:
            others.append(line)
    answered = dict[str, Line]()
    for name, line in results:
        if name not in requests:
            others.append(Line(line.value, line.place, f"no file has the request of this result. {_BOTH}"))
        elif name in answered:
            others.append(Line(line.value, line.place, f"custom_id {name!r} is used twice"))
        else:
            joined: JsonObject = {**as_object(requests[name].value), **_result(as_object(line.value))}
            answered[name] = Line(joined, line.place)
    yield from others
    yield from (answered.get(name, line) for name, line in requests.items())


def _result(value: Json) -> JsonObject:
    """Return the response of a batch's result; a failed one has an error instead."""
    result = as_object(value)
    return {"response": result.get("response") or {"error": result.get("error") or True}}


def _decode(text: str, *, place: str) -> Line:
    try:
        return Line(json.loads(text), place)
    except (ValueError, RecursionError):
        return Line(text, place, "the line is not JSON")


def _list_in(value: Json) -> list[Json] | None:
    """Return the values of an array or of a page of a list."""
    found = as_object(value).get("data") if as_object(value).get("object") == "list" else value
    return found if isinstance(found, list) else None
