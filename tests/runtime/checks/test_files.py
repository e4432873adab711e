"""What a data file may be packed in: each kind gives the same records, or is refused by name with a way out."""

import datetime
import gzip
import io
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidData
from kubedistill_runtime.checks.files import Entry, read_file

RECORDS: list[dict[str, Any]] = [
    {"prompt": "Grüße\u2028, 你好 \\n"},
    {"prompt": "second", "tags": ["a", "b"]},
    {"n": 3},
]
LINES = [json.dumps(record, ensure_ascii=False) for record in RECORDS]
ARRAY = json.dumps(RECORDS, ensure_ascii=False)
PRETTY = "\n".join(json.dumps(record, ensure_ascii=False, indent=2) for record in RECORDS)


def write(tmp_path: Path, data: bytes, *, name: str = "train.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def entries(path: Path) -> list[Entry]:
    found = list(read_file(path).entries)
    assert all(isinstance(entry, Entry) for entry in found), found
    return [entry for entry in found if isinstance(entry, Entry)]


def problem_of(path: Path) -> InvalidData:
    """Return the only problem of a file, whether the file is refused as a whole or in one place."""
    try:
        found = [entry for entry in read_file(path).entries if isinstance(entry, InvalidData)]
    except InvalidData as problem:
        return problem
    (one,) = found
    return one


PACKED = {
    "lines": ("\n".join(LINES).encode(), [1, 2, 3], []),
    "lines with an end": ("\n".join([*LINES, ""]).encode(), [1, 2, 3], []),
    "a byte order mark": ("\n".join(LINES).encode("utf-8-sig"), [1, 2, 3], []),
    "two files with marks, joined": ("\n".join(f"\ufeff{line}" for line in LINES).encode(), [1, 2, 3], []),
    "CRLF": ("\r\n".join(LINES).encode(), [1, 2, 3], []),
    "CR only": ("\r".join(LINES).encode(), [1, 2, 3], []),
    "CR and LF mixed": (f"{LINES[0]}\r{LINES[1]}\n{LINES[2]}".encode(), [1, 2, 3], []),
    "blank lines": ("\n\n".join(LINES).encode(), [1, 3, 5], []),
    "gzip": (gzip.compress("\n".join(LINES).encode()), [1, 2, 3], ["gzip"]),
    "gzip of CRLF with a mark": (gzip.compress("\r\n".join(LINES).encode("utf-8-sig")), [1, 2, 3], ["gzip"]),
    "UTF-16 little": ("\ufeff".encode("utf-16-le") + "\n".join(LINES).encode("utf-16-le"), [1, 2, 3], ["UTF-16"]),
    "UTF-16 big": ("\ufeff".encode("utf-16-be") + "\r\n".join(LINES).encode("utf-16-be"), [1, 2, 3], ["UTF-16"]),
    "a JSON array": (ARRAY.encode(), [1, 1, 1], ["JSON array"]),
    "a JSON array in gzip": (gzip.compress(ARRAY.encode()), [1, 1, 1], ["gzip", "JSON array"]),
    "a JSON array with a mark": (ARRAY.encode("utf-8-sig"), [1, 1, 1], ["JSON array"]),
    "a JSON array of lines": (("[\r\n" + ",\r\n".join(LINES) + "\r\n]\r\n").encode(), [2, 3, 4], ["JSON array"]),
    "objects of several lines": (PRETTY.encode(), [1, 4, 11], ["several lines"]),
}


@pytest.mark.parametrize("kind", PACKED)
def test_values_and_their_lines_are_the_same_whatever_they_are_packed_in(kind: str, tmp_path: Path) -> None:
    data, lines, words = PACKED[kind]
    path = write(tmp_path, data)
    found = entries(path)
    assert [entry.value for entry in found] == RECORDS
    assert [entry.place for entry in found] == [f"{path}:{line}" for line in lines]
    assert [entry.number for entry in found] == (lines if "array" not in kind and "several" not in kind else [1, 2, 3])
    notes = read_file(path).notes
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), JSON, min_size=1), max_size=4))
def test_lines_arrays_and_indented_objects_hold_the_same(
    tmp_path_factory: pytest.TempPathFactory, records: list[Any]
) -> None:
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    forms = [lines, json.dumps(records), json.dumps(records, indent=1)]
    forms.append("\n".join(json.dumps(record, indent=1) for record in records))
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    for text in forms:
        path.write_text(text, encoding="utf-8")
        assert [entry.value for entry in entries(path)] == records


FOREIGN = {
    "Arrow": (b"ARROW1\x00\x00", "Arrow", "read_feather"),
    "a spreadsheet": (b"PK\x03\x04\x14\x00", "spreadsheet", "JSON lines"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04", "zstd", "gzip"),
    "bzip2": (b"BZh91AY&SY", "bzip2", "gzip"),
    "xz": (b"\xfd7zXZ\x00", "xz", "gzip"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "LFS", "git lfs pull"),
    "CSV": (b"prompt,reference\nhello,yes\n", "CSV", "read_csv"),
    "CSV with a mark": ("prompt,reference\nhello,yes\n".encode("utf-8-sig"), "CSV", "read_csv"),
    "TSV": (b"sentence\tlabel\nhello\tyes\n", "TSV", "read_csv"),
    "CSV of Excel": (b"prompt;reference\r\nhello;yes\r\n", "CSV", "read_csv"),
    "CSV in gzip": (gzip.compress(b'"my prompt","label"\n"a","b"\n'), "CSV", "read_csv"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_another_format_is_refused_by_name_and_once(kind: str, tmp_path: Path) -> None:
    data, name, way_out = FOREIGN[kind]
    path = write(tmp_path, data)
    problem = problem_of(path)
    assert name in problem.problem
    assert way_out in problem.fix
    assert problem.at.startswith(str(path))


def test_one_column_is_a_table_by_its_name(tmp_path: Path) -> None:
    assert "CSV" in problem_of(write(tmp_path, b"prompt\nhello\n", name="train.csv")).problem


def parquet(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue()


CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Grüße"}], "reference": ["a", "b"], "id": "one"},
    {"messages": [{"role": "system", "content": "s", "weight": 0}, {"role": "user", "content": "你好"}]},
]


def test_rows_of_parquet_are_the_records_of_a_file_of_lines(tmp_path: Path) -> None:
    """Arrow gives each row all fields of all rows; those without a value are absent."""
    path = write(tmp_path, parquet(CHATS), name="train.parquet")
    found = entries(path)
    assert [entry.value for entry in found] == CHATS
    assert [(entry.place, entry.number) for entry in found] == [(f"{path}: row 1", 1), (f"{path}: row 2", 2)]
    assert read_file(path).notes == ("the file is Parquet",)


def test_many_rows_of_parquet_are_read_in_their_order(tmp_path: Path) -> None:
    rows = [{"prompt": f"number {number}"} for number in range(3000)]
    assert [entry.value for entry in entries(write(tmp_path, parquet(rows)))] == rows


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        (datetime.date(2026, 11, 28), pa.date32(), "2026-11-28"),
        (Decimal("1.50"), pa.decimal128(5, 2), "1.50"),
        (math.nan, pa.float64(), None),
        (1.5, pa.float64(), 1.5),
        (b"image", pa.binary(), InvalidData),
    ],
)
def test_values_of_parquet_are_those_of_json(value: object, kind: pa.DataType, read: object, tmp_path: Path) -> None:
    schema = pa.schema([("prompt", pa.string()), ("more", kind)])
    path = write(tmp_path, parquet([{"prompt": "hello", "more": value}], schema))
    if read is InvalidData:
        assert problem_of(path).at == f"{path}: row 1"
    else:
        assert [entry.value for entry in entries(path)] == [{"prompt": "hello", "more": read}]


@pytest.mark.parametrize("cut", [4, 20, -1])
def test_a_damaged_parquet_file_is_refused(cut: int, tmp_path: Path) -> None:
    path = write(tmp_path, parquet(CHATS)[:cut])
    assert problem_of(path).at == str(path)


DAMAGED = {
    "gzip cut off": (gzip.compress(b'{"prompt": "hello"}' * 50)[:40], None, "damaged"),
    "gzip of noise": (b"\x1f\x8bnoise", None, "damaged"),
    "UTF-16 cut off": ("\ufeffab".encode("utf-16-le")[:-1], None, "damaged"),
    "an array that does not end": (b'[{"a": 1}', 1, "no comma or end"),
    "an array with a bad value": (b'[{"a": 1},\n{"a": }]', 2, "not JSON"),
    "an array without commas": (b'[{"a": 1}\n{"a": 2}]', 1, "no comma or end"),
    "two arrays": (b"[{}]\n[{}]", None, "more follows"),
    "an array that is not UTF-8": (b'[{"a": 1},\n{"a": "\xff"}]', 2, "not UTF-8"),
    "two objects in a line": (b'{"a": 1}\n{"a": 1} {"a": 2}', 2, "more follows"),
    "a key twice": (b'{"a": 1}\n{"reference": "x", "reference": "y"}\n{"a": 1}', 2, "'reference' occurs twice"),
    "a key twice, deep down": (b'{"a": [{"b": {"role": 1, "role": 1}}]}', 1, "'role' occurs twice"),
    "a key twice, spelled with an escape": (b'{"id": 1, "\\u0069d": 2}', 1, "'id' occurs twice"),
    "a key twice in an array": (b'[{"a": 1},\n{"b": 1, "b": 2},\n{"c": 3}]', 2, "'b' occurs twice"),
    "half a number": (b'{"a": 1e}', 1, "not JSON"),
    "quotes of Python": (b"{'a': 1}", 1, "not JSON"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_cannot_be_decoded_is_refused_in_its_line(kind: str, tmp_path: Path) -> None:
    data, line, words = DAMAGED[kind]
    path = write(tmp_path, data)
    problem = problem_of(path)
    assert words in problem.problem
    assert problem.at == (f"{path}:{line}" if line else str(path))
    assert problem.fix


def test_a_key_that_stands_twice_does_not_hide_what_follows(tmp_path: Path) -> None:
    for text in ('{"a": 1, "a": 2}\n{"b": 3}', '[{"a": 1, "a": 2}, {"b": 3}]'):
        first, second = read_file(write(tmp_path, text.encode())).entries
        assert isinstance(first, InvalidData)
        assert isinstance(second, Entry)
        assert second.value == {"b": 3}


def test_not_a_number_is_absent(tmp_path: Path) -> None:
    (entry,) = entries(write(tmp_path, b'{"prompt": "a", "reference": NaN}'))
    assert entry.value == {"prompt": "a", "reference": None}


@pytest.mark.parametrize("data", [b"", b"\n \n", b"[]", b"[ ]\n", "\ufeff".encode()])
def test_nothing_is_in_an_empty_file(data: bytes, tmp_path: Path) -> None:
    assert entries(write(tmp_path, data)) == []
