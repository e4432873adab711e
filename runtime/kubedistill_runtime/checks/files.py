"""Data files: the JSON values of a file and their places, whatever the file's encoding and compression."""

import codecs
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubedistill.errors import InvalidData
from kubedistill.json_values import Json, JsonObject
from kubedistill_runtime.checks import parquet

_GZIP = b"\x1f\x8b"
_BOM = "\ufeff"
_TO_JSONL = "to_json('data.jsonl', orient='records', lines=True, force_ascii=False)"
_FOREIGN = {
    b"ARROW1": ("an Arrow file", f"Convert it: pandas.read_feather('…').{_TO_JSONL}"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "Unpack it, or save the sheet as JSON lines"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "Unpack it with `zstd -d`, or use gzip"),
    b"BZh": ("compressed with bzip2", "Unpack it with `bunzip2`, or use gzip"),
    b"\xfd7zXZ": ("compressed with xz", "Unpack it with `unxz`, or use gzip"),
    b"version https://git-lfs": ("a Git LFS pointer, not the data", "Run `git lfs pull`"),
}
_CSV = ("a table (CSV or TSV)", f"Convert it: pandas.read_csv('…').{_TO_JSONL}")
_CSV_HEADER = re.compile(r'"?[\w .-]+"?([,;\t]"?[\w .-]+"?)+')
_SPACE = re.compile(r"\s*")
_ONE_A_LINE = "Write one complete JSON object per line"


@dataclass(frozen=True, slots=True)
class Entry:
    """One JSON value of a file."""

    value: Json
    place: str
    """The file and the line where the value begins; the row in a Parquet file."""
    number: int
    """The line in a file of lines, otherwise the place in the list or table."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The content of a file: its values, with a problem in place of each one that can't be read."""

    entries: Iterator[Entry | InvalidData]
    notes: tuple[str, ...]


def read_file(path: Path) -> Contents:
    """Read a file of JSON lines, a JSON array, a sequence of JSON objects, or Parquet; gzip and UTF-16 are decoded.

    Raises InvalidData if the file as a whole can't be read; entries are decoded lazily.
    """
    if _read_bytes(path, size=len(parquet.MAGIC)) == parquet.MAGIC:
        return Contents(_rows(path), ("the file is Parquet",))
    data, notes = _unpack(_read_bytes(path), path=path)
    start = data[:4096].lstrip()
    _check_format(start, path=path)
    if start.startswith(b"["):
        return Contents(_values(_decode(data, path=path), path=path), (*notes, "the file is a JSON array"))
    if start.split(b"\n")[0].strip() == b"{":
        note = "the file has JSON objects of several lines"
        return Contents(_values(_decode(data, path=path), path=path), (*notes, note))
    return Contents(_lines(data, path=path), notes)


def _read_bytes(path: Path, *, size: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError as error:
        fix = "Paths without a scheme are relative to the manifest's folder, in a cluster to storage.uri"
        raise InvalidData("there is no such file", at=str(path), fix=fix) from error
    except OSError as error:
        problem = f"the file can't be read ({error.strerror})"
        raise InvalidData(problem, at=str(path), fix="Name a JSONL file") from error


def _unpack(data: bytes, *, path: Path) -> tuple[bytes, tuple[str, ...]]:
    """Return the file as UTF-8 with LF line endings and without a byte order mark, and notes about the conversion."""
    notes: list[str] = []
    try:
        if data.startswith(_GZIP):
            data = gzip.decompress(data)
            notes.append("the file is compressed with gzip")
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            data = data.decode("utf-16").encode()
            notes.append("the file is UTF-16")
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        problem = f"the file is damaged ({error})"
        raise InvalidData(problem, at=str(path), fix="Copy it again, or write it as JSON lines in UTF-8") from error
    data = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data, tuple(notes)


def _check_format(start: bytes, *, path: Path) -> None:
    for magic, (kind, fix) in _FOREIGN.items():
        if start.startswith(magic):
            raise InvalidData(f"the file is {kind}", at=str(path), fix=fix)
    if start.startswith((b"{", b"[")) or not start:
        return
    header = start.split(b"\n")[0].decode(errors="replace").strip()
    if {".csv", ".tsv"} & set(path.suffixes) or _CSV_HEADER.fullmatch(header):
        kind, fix = _CSV
        raise InvalidData(f"the file is {kind}", at=f"{path}:1", fix=fix)


def _rows(path: Path) -> Iterator[Entry | InvalidData]:
    for number, value in parquet.read_rows(path):
        yield value if isinstance(value, InvalidData) else Entry(value, parquet.locate_row(path, number), number)


def _lines(data: bytes, *, path: Path) -> Iterator[Entry | InvalidData]:
    decoder = _Decoder()
    for number, line in enumerate(data.split(b"\n"), start=1):
        place = f"{path}:{number}"
        try:
            text = line.decode().strip().lstrip(_BOM)  # a BOM in the middle comes from joining two files
            if not text:
                continue
            entry, end = decoder.decode(text, 0, place=place, number=number)
            if text[end:].strip():
                raise InvalidData("the line is not JSON (more follows the object)", at=place, fix=_ONE_A_LINE)
            yield entry
        except UnicodeDecodeError:
            yield _not_utf8(place)
        except InvalidData as problem:
            yield problem


def _values(text: str, *, path: Path) -> Iterator[Entry | InvalidData]:
    """Yield the elements of an array, or objects one after another, up to the first one that can't be decoded."""
    decoder, line, counted, number = _Decoder(), 1, 0, 0
    position = _skip_space(text, 0)
    is_array = text.startswith("[", position)
    position = _skip_space(text, position + is_array)
    while position < len(text) and not (is_array and text.startswith("]", position)):
        line, counted, number = line + text.count("\n", counted, position), position, number + 1
        place = f"{path}:{line}"
        try:
            entry, end = decoder.decode(text, position, place=place, number=number)
        except InvalidData as problem:
            yield problem
            return
        yield entry
        position = _skip_space(text, end)
        if is_array and not text.startswith("]", position):
            if not text.startswith(",", position):
                yield InvalidData("the JSON array has no comma or end after this record", at=place, fix=_ONE_A_LINE)
                return
            position = _skip_space(text, position + 1)
    if is_array and text[position + 1 :].strip():
        yield InvalidData("more follows the JSON array", at=str(path), fix=_ONE_A_LINE)


class _Decoder:
    """Decodes one JSON value at a time."""

    def __init__(self) -> None:
        self._repeated: list[str] = []
        # Some tools write NaN for a missing value.
        constants = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}
        self._json = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=constants.__getitem__)

    def decode(self, text: str, start: int, *, place: str, number: int) -> tuple[Entry | InvalidData, int]:
        """Return the value at a position, or the problem with it, and the position of its end.

        Raises InvalidData if there is no value, so that its end is not known.
        """
        self._repeated.clear()
        try:
            value, end = self._json.raw_decode(text, start)
        except json.JSONDecodeError as error:
            problem = f"the line is not JSON ({error.msg} at column {error.colno})"
            raise InvalidData(problem, at=place, fix=_ONE_A_LINE) from error
        except (ValueError, RecursionError) as error:
            raise InvalidData(f"the line is not JSON ({error})", at=place, fix=_ONE_A_LINE) from error
        if self._repeated:
            problem = f"the key {self._repeated[0]!r} occurs twice in one object"
            return InvalidData(problem, at=place, fix="Keep one of them"), end
        return Entry(value, place, number), end

    def _object(self, pairs: list[tuple[str, Json]]) -> JsonObject:
        values: JsonObject = {}
        for key, value in pairs:
            if key in values:
                self._repeated.append(key)
            values[key] = value
        return values


def _decode(data: bytes, *, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _not_utf8(f"{path}:{line}") from error


def _not_utf8(place: str) -> InvalidData:
    fix = "Convert the file, for example with `iconv -f WINDOWS-1252 -t UTF-8`"
    return InvalidData("the line is not UTF-8", at=place, fix=fix)


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
