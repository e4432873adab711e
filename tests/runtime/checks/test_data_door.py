"""Reading a data file: each bad line is refused with file, line and fix; each good one becomes a record."""

import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidData
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.data import read_records
from kubedistill_runtime.records import Message, Record, decode_records, encode_records
from support.messages import CheckMessage

LABELS = ("billing.ask", "billing.fix")
GOOD = '{"messages": [{"role": "user", "content": "hello"}], "reference": "billing.fix"}'


def read(
    tmp_path: Path, *lines: str | bytes, task: str = "Classification", labels: tuple[str, ...] = LABELS
) -> list[Record]:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return read_records(path, split="train", task=Task(type=task, labels=labels or None), answers="Teacher").records


BAD_LINES = {
    "broken JSON": ('{"messages": [', "JSON"),
    "cut in the middle": (GOOD[:40], "JSON"),
    "not an object": ("[1, 2]", "JSON"),
    "not UTF-8": (b'{"prompt": "\xff"}', "UTF-8"),
    "no prompt": ('{"id": "a"}', "messages, prompt"),
    "both": ('{"prompt": "a", "messages": []}', "messages, prompt"),
    "messages empty": ('{"messages": []}', "messages"),
    "unknown role": ('{"messages": [{"role": "bot", "content": "x"}]}', "role"),
    "content missing": ('{"messages": [{"role": "user"}]}', "message 1"),
    "content blank": ('{"prompt": "  "}', "prompt"),
    "content a number": ('{"prompt": 7}', "7"),
    "lone surrogate": ('{"prompt": "\\ud800"}', "surrogate"),
    "reference no label": ('{"prompt": "a", "reference": "billing.fxi"}', "'billing.fix'"),
    "reference a dict": ('{"prompt": "a", "reference": {"a": 1}}', "reference"),
    "typo in a key": ('{"prompt": "a", "refernce": "billing.fix"}', "'reference'"),
    "two user turns": (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}',
        "user, user",
    ),
    "an assistant turn alone": (
        '{"messages": [{"role": "assistant", "content": "billing.ask"}]}',
        "none",
    ),
    "system last": (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}',
        "user, system",
    ),
    "deep nesting": ('{"prompt": ' + "[" * 100_000, "JSON"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_line_is_refused_with_its_place(case: str, tmp_path: Path, check_message: CheckMessage) -> None:
    line, named = BAD_LINES[case]
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, GOOD, line)
    assert caught.value.at == f"{tmp_path / 'train.jsonl'}:2"
    assert caught.value.fix
    check_message(caught.value, named)


def test_all_problems_of_a_file_are_told_at_once_the_first_one_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, GOOD[:40], GOOD, '{"prompt": 7, "reference": "billing.fxi"}', GOOD, '{"id": "a"}')
    path = tmp_path / "train.jsonl"
    assert caught.value.at == f"{path}:1"
    places = [line.split(": ")[0] for line in str(caught.value).split("\n")]
    assert places == [f"{path}:{line}" for line in (1, 3, 3, 5)]


def test_at_most_twenty_problems_are_told_and_the_rest_is_not_read(tmp_path: Path) -> None:
    labels = tuple(f"label {number}" for number in range(512))
    lines = [json.dumps({"prompt": "a", "reference": f"labl {number}"}) for number in range(20_000)]
    before = time.perf_counter()
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, *lines, labels=labels)
    assert time.perf_counter() - before < 10, "a guess for each of 20,000 takes minutes"
    told = str(caught.value).split("\n")
    assert len(told) == 21
    assert told[19].startswith(f"{tmp_path / 'train.jsonl'}:20: ")
    assert "the first 20" in told[20]


def test_duplicate_id_names_the_second_place(tmp_path: Path, check_message: CheckMessage) -> None:
    line = '{"id": "a", "prompt": "x"}'
    with pytest.raises(InvalidData) as refused:
        read(tmp_path, line, line)
    check_message(refused.value, 2, "'a'")


@pytest.mark.parametrize("lines", [(), ("", "  ")])
def test_empty_file_is_refused(lines: tuple[str, ...], tmp_path: Path, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidData) as refused:
        read(tmp_path, *lines)
    check_message(refused.value, tmp_path / "train.jsonl")


def test_missing_file_and_folder_are_refused(tmp_path: Path, check_message: CheckMessage) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InvalidData) as refused:
            read_records(path, split="train", task=Task(type="QA"), answers="Teacher")
        check_message(refused.value, path)


def test_good_lines_become_records(tmp_path: Path) -> None:
    records = read(
        tmp_path, GOOD, "", '{"prompt": "p", "tags": ["a"], "id": "x", "reference": ["billing.ask"], "extra": 1}\r'
    )
    assert records[0].id == "train-000001"
    assert records[1] == Record("x", (Message("user", "p"),), ("billing.ask",), ("a",))


def test_conversation_takes_turns_and_system_prompt_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    roles = ["system", "user", "assistant", "user"]
    path.write_text(json.dumps({"messages": [{"role": role, "content": role} for role in roles]}))
    found = read_records(
        path, split="train", task=Task(type="Conversation", system_prompt="Be kind."), answers="Teacher"
    )
    (record,) = found.records
    assert record.messages[0] == Message("system", "Be kind.")
    assert [message.role for message in record.messages] == roles


TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
RECORDS = st.lists(
    st.builds(
        Record,
        TEXT,
        st.lists(st.builds(Message, st.just("user"), TEXT, st.booleans()), min_size=1).map(tuple),
        st.lists(TEXT).map(tuple),
    ),
    max_size=5,
)


@given(RECORDS)
def test_records_survive_encoding(records: list[Record]) -> None:
    assert list(decode_records(encode_records(records))) == records


def test_only_a_turn_that_is_not_a_target_says_so() -> None:
    messages = (Message("user", "a"), Message("assistant", "b", target=False))
    (line,) = encode_records([Record("r", messages)]).splitlines()
    assert json.loads(line)["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "target": False},
    ]


def test_a_parquet_file_gives_the_records_of_its_lines(tmp_path: Path) -> None:
    """As `datasets` writes it: a record without a reference has null."""
    lines = [GOOD, '{"messages": [{"role": "user", "content": "again"}], "tags": ["a"], "id": "own"}']
    absent = {"messages": None, "reference": None, "tags": None, "id": None}
    table = pa.Table.from_pylist([{**absent, **json.loads(line)} for line in lines])
    pq.write_table(table, tmp_path / "train.parquet")
    found = read_records(
        tmp_path / "train.parquet",
        split="train",
        task=Task(type="Classification", labels=LABELS),
        answers="Teacher",
    )
    assert found.records == read(tmp_path, *lines)
    assert found.notes == ("the file is Parquet",)
