"""The JSONL door: each bad line is refused with file, line and fix; each good one becomes a record."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidData
from kubedistill_runtime.checks.data import read_records
from kubedistill_runtime.checks.splits import check_sizes, drop_long, hold_out
from kubedistill_runtime.records import Message, Record, decode_records, encode_records
from kubedistill_runtime.tasks import TASKS

LABELS = ("billing.ask", "billing.fix")
GOOD = '{"messages": [{"role": "user", "content": "hello"}], "reference": "billing.fix"}'


def read(
    tmp_path: Path, *lines: str | bytes, task: str = "Classification", labels: tuple[str, ...] = LABELS
) -> list[Record]:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return read_records(path, split="train", task=TASKS[task], labels=labels, system_prompt=None)


BAD_LINES = {
    "broken JSON": ('{"messages": [', "the line is not JSON"),
    "cut in the middle": (GOOD[:40], "the line is not JSON"),
    "not an object": ("[1, 2]", "not a JSON object"),
    "not UTF-8": (b'{"prompt": "\xff"}', "not UTF-8"),
    "no prompt": ('{"id": "a"}', "either messages or prompt"),
    "both": ('{"prompt": "a", "messages": []}', "either messages or prompt"),
    "messages empty": ('{"messages": []}', "not a list of messages"),
    "unknown role": ('{"messages": [{"role": "bot", "content": "x"}]}', "no known role"),
    "content missing": ('{"messages": [{"role": "user"}]}', "content is not a text"),
    "content blank": ('{"prompt": "  "}', "prompt is not a text"),
    "content a number": ('{"prompt": 7}', "prompt is not a text"),
    "lone surrogate": ('{"prompt": "\\ud800"}', "half a surrogate pair"),
    "reference no label": ('{"prompt": "a", "reference": "billing.fxi"}', "Did you mean 'billing.fix'"),
    "reference a dict": ('{"prompt": "a", "reference": {"a": 1}}', "reference is not a text"),
    "typo in a key": ('{"prompt": "a", "refernce": "billing.fix"}', "Did you mean 'reference'"),
    "assistant turn": (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
        "the roles are user, assistant",
    ),
    "system last": (
        '{"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}',
        "the roles are user, system",
    ),
    "deep nesting": ('{"prompt": ' + "[" * 100_000, "the line is not JSON"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_line_is_refused_with_its_place(case: str, tmp_path: Path) -> None:
    line, problem = BAD_LINES[case]
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, GOOD, line)
    assert problem in str(caught.value)
    assert f"{tmp_path / 'train.jsonl'}:2: " in str(caught.value)
    assert caught.value.fix


def test_duplicate_id_names_the_second_place(tmp_path: Path) -> None:
    line = '{"id": "a", "prompt": "x"}'
    with pytest.raises(InvalidData, match=r":2: id 'a' was used before"):
        read(tmp_path, line, line)


@pytest.mark.parametrize(("lines", "problem"), [((), "no records"), (("", "  "), "no records")])
def test_empty_file_is_refused(lines: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=problem):
        read(tmp_path, *lines)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path, problem in ((tmp_path / "none.jsonl", "no such file"), (tmp_path, "can't be read")):
        with pytest.raises(InvalidData, match=problem):
            read_records(path, split="train", task=TASKS["QA"], labels=(), system_prompt=None)


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
    (record,) = read_records(path, split="train", task=TASKS["Conversation"], labels=(), system_prompt="Be kind.")
    assert record.messages[0] == Message("system", "Be kind.")
    assert [message.role for message in record.messages] == roles


TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
RECORDS = st.lists(
    st.builds(
        Record,
        TEXT,
        st.lists(st.builds(Message, st.just("user"), TEXT), min_size=1).map(tuple),
        st.lists(TEXT).map(tuple),
    ),
    max_size=5,
)


@given(RECORDS)
def test_records_survive_encoding(records: list[Record]) -> None:
    assert list(decode_records(encode_records(records))) == records


def prompts(count: int) -> list[Record]:
    return [Record(f"r{number}", (Message("user", str(number)),)) for number in range(count)]


@pytest.mark.parametrize(("count", "held"), [(9, 0), (100, 10), (20_000, 1000)])
def test_hold_out_takes_a_tenth_and_at_most_a_thousand(count: int, held: int) -> None:
    rest, out = hold_out(prompts(count), seed=0, salt="test")
    assert (len(rest), len(out)) == (count - held, held)
    assert not {record.id for record in rest} & {record.id for record in out}


def test_hold_out_depends_on_seed_and_ids_but_not_on_order() -> None:
    _, first = hold_out(prompts(100), seed=0, salt="test")
    _, again = hold_out(prompts(100)[::-1], seed=0, salt="test")
    _, other = hold_out(prompts(100), seed=1, salt="test")
    assert set(first) == set(again) != set(other)


def test_long_prompts_are_dropped_and_counted() -> None:
    kept, dropped = drop_long(prompts(20), count_tokens=lambda record: int(record.id[1:]), limit=15)
    assert (len(kept), dropped) == (15, 5)


def test_too_few_records_name_split_and_reason() -> None:
    splits = {"train": prompts(3), "validation": prompts(9), "test": prompts(9)}
    places = {"train": "spec.data.train", "validation": "", "test": ""}
    with pytest.raises(InvalidData, match=r"spec.data.train: 3 train records are left after 4 were dropped as TooLong"):
        check_sizes(splits, too_long={"train": 4, "validation": 0, "test": 0}, places=places)  # type: ignore[arg-type]
