import json
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.vocabulary import load_vocabulary

EXAMPLE_NAMES = (
    "quickstart", "conversation", "qa", "nli", "math", "summarization", "moderation", "translation", "expense-review",
    "tickets", "support-chat",
)  # fmt: skip
ROWS = {
    "quickstart": {"train": 1_200, "validation": 300, "test": 1_000},
    "conversation": {"train": 48, "validation": 16, "test": 24},
    "qa": {"train": 48, "validation": 16, "test": 24},
    "nli": {"train": 48, "validation": 16, "test": 24},
    "math": {"train": 48, "validation": 16, "test": 24},
    "summarization": {"train": 48, "validation": 16, "test": 24},
    "moderation": {"train": 48, "validation": 16, "test": 24},
    "translation": {"train": 48, "validation": 16, "test": 24},
    "expense-review": {"train": 48, "validation": 16, "test": 24},
    "tickets": {"train": 48, "validation": 16, "test": 24},
    "support-chat": {"conversations": 1_200},
}
GRAM = 13


def read_records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def words_of(record: dict) -> list[str]:
    return " ".join(turn["content"] for turn in record["messages"]).lower().split()


def grams_of(record: dict) -> set[tuple[str, ...]]:
    words = words_of(record)
    return {tuple(words[start : start + GRAM]) for start in range(len(words) - GRAM + 1)}


@pytest.mark.parametrize("name", EXAMPLE_NAMES)
def test_data_is_what_its_script_writes(
    name: str, examples: Path, write_data: Callable[[str, Path], None], tmp_path: Path
):
    write_data(name, tmp_path)
    shipped = sorted((examples / name / "data").iterdir())
    assert [path.name for path in shipped] == sorted(path.name for path in tmp_path.iterdir())
    for path in shipped:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), f"{path.name}: run build_data.py of {name}"


@pytest.mark.parametrize("name", EXAMPLE_NAMES)
def test_records_are_counted_and_named_once(name: str, examples: Path):
    records = {split: read_records(examples / name / "data" / f"{split}.jsonl") for split in ROWS[name]}
    assert {split: len(rows) for split, rows in records.items()} == ROWS[name]
    ids = [(split, record["id"]) for split, rows in records.items() for record in rows]
    assert len(set(ids)) == len(ids)
    texts = [json.dumps(record.get("messages", record)) for rows in records.values() for record in rows]
    assert len(set(texts)) == len(texts)


def test_no_test_message_shares_13_words_with_the_job(examples: Path):
    data = examples / "quickstart" / "data"
    job = [*read_records(data / "train.jsonl"), *read_records(data / "validation.jsonl")]
    known = set().union(*(grams_of(record) for record in job))
    test = read_records(data / "test.jsonl")
    assert all(grams_of(record) for record in test)
    assert [record["id"] for record in test if grams_of(record) & known] == []


def test_quickstart_references_are_labels(examples: Path):
    labels = set(load_vocabulary().labels)
    for split in ROWS["quickstart"]:
        records = read_records(examples / "quickstart" / "data" / f"{split}.jsonl")
        assert {record["reference"] for record in records} == labels


def test_conversations_alternate_after_the_system_turn(examples: Path):
    for split in ROWS["conversation"]:
        for record in read_records(examples / "conversation" / "data" / f"{split}.jsonl"):
            roles = [turn["role"] for turn in record["messages"]]
            assert roles in (["system", *["user", "assistant"] * turns, "user"] for turns in (1, 2))


def test_answers_stand_in_their_passage(examples: Path):
    for split in ROWS["qa"]:
        for record in read_records(examples / "qa" / "data" / f"{split}.jsonl"):
            passage = record["messages"][0]["content"]
            reference = record["reference"]
            answers = [reference] if isinstance(reference, str) else reference
            assert all(answer in passage for answer in answers)
