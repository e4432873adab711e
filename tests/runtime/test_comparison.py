"""Tokenizers are shared if every text gets the same ids, and the first difference is the reason that people read."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import InvalidModel
from kubedistill_runtime.chat.comparison import TokenizerComparison, compare_tokenizers, format_difference
from kubedistill_runtime.models import Model
from support.job_folder import QUICKSTART, tokenizer_values
from support.messages import CheckMessage

BPE = tokenizer_values()["model"]
UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}
ADDED = {"id": 3, "content": "<end>", "special": True}


def write(folder: Path, values: Any) -> Model:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(values if isinstance(values, str) else json.dumps(values))
    return Model(folder.name, folder, "digest", 0, {})


def compare(tmp_path: Path, teacher: Any, student: Any) -> TokenizerComparison:
    return compare_tokenizers(write(tmp_path / "teacher", teacher), write(tmp_path / "student", student))


SAME: dict[str, Any] = {
    "spelled otherwise": json.dumps(tokenizer_values(), indent=4),
    "other padding": tokenizer_values(padding={"strategy": "BatchLongest", "pad_id": 0}),
    "other truncation": tokenizer_values(truncation={"max_length": 512}),
    "another version": tokenizer_values(version="2.0"),
    "an absent rule and a null one": tokenizer_values(normalizer=None),
}


@pytest.mark.parametrize("name", SAME)
def test_what_changes_no_id_leaves_them_shared(name: str, tmp_path: Path) -> None:
    assert compare(tmp_path, tokenizer_values(), SAME[name]) == TokenizerComparison(shared=True, difference="")


OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "more ids": (tokenizer_values(model={**BPE, "vocab": {**BPE["vocab"], "c": 3}}), "tokenizers differ, 3 and 4 ids"),
    "an added token": (tokenizer_values(added_tokens=[ADDED]), "tokenizers differ, 3 and 4 ids"),
    "other ids": (tokenizer_values(model={**BPE, "vocab": {"a": 1, "b": 0, "ab": 2}}), "tokenizers differ in model"),
    "other merges": (tokenizer_values(model={**BPE, "merges": []}), "tokenizers differ in model"),
    "another pre-tokenizer": (
        tokenizer_values(pre_tokenizer={"type": "ByteLevel"}), "tokenizers differ in pre_tokenizer",
    ),
    "another normalizer": (tokenizer_values(normalizer={"type": "NFC"}), "tokenizers differ in normalizer"),
    "another kind": (tokenizer_values(model=UNIGRAM), "tokenizers differ, 3 and 2 ids"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_the_difference_is_named(name: str, tmp_path: Path) -> None:
    student, difference = OTHER[name]
    assert compare(tmp_path, tokenizer_values(), student) == TokenizerComparison(shared=False, difference=difference)


def test_an_added_token_that_the_vocabulary_has_counts_once(tmp_path: Path) -> None:
    listed = tokenizer_values(added_tokens=[{"id": 0, "content": "a", "special": True}])
    assert compare(tmp_path, tokenizer_values(), listed).difference == "tokenizers differ in added_tokens"


def test_pieces_of_a_unigram_model_are_counted(tmp_path: Path) -> None:
    more = {**UNIGRAM, "vocab": [*UNIGRAM["vocab"], ["b", -2.0]]}
    found = compare(tmp_path, tokenizer_values(model=UNIGRAM), tokenizer_values(model=more))
    assert found.difference == "tokenizers differ, 2 and 3 ids"


def test_the_quickstart_shares_one_tokenizer() -> None:
    teacher, student = (Model(name, QUICKSTART / name, "digest", 0, {}) for name in ("teacher", "student"))
    assert compare_tokenizers(teacher, student).shared


FORMATS: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    # Files that the student has otherwise, and what differs.
    "nothing": ({}, ""),
    "the template": ({"tokenizer_config.json": {"chat_template": "b"}}, "another chat template"),
    "the stop tokens": ({"generation_config.json": {"eos_token_id": [3, 5]}}, "other stop tokens"),
    "the order of the stop tokens": ({"generation_config.json": {"eos_token_id": [4, 3]}}, ""),
    "a special token": (
        {"tokenizer_config.json": {"chat_template": "a", "bos_token": "<x>"}}, "other special tokens",
    ),
    "a special token, spelled as an object": (
        {"tokenizer_config.json": {"chat_template": "a", "bos_token": {"content": "<s>", "lstrip": False}}}, "",
    ),
    "the class": (
        {"tokenizer_config.json": {"chat_template": "a", "bos_token": "<s>", "tokenizer_class": "LlamaTokenizer"}},
        "other tokenizer settings",
    ),
    "added tokens": ({"added_tokens.json": {"yes": 7}}, "other tokenizer settings"),
    "special tokens": ({"special_tokens_map.json": {"eos_token": "</s>"}}, "other tokenizer settings"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_of_one_vocabulary_the_difference_in_asking_and_ending_is_named(name: str, tmp_path: Path) -> None:
    files = {
        "tokenizer_config.json": {"chat_template": "a", "bos_token": "<s>"},
        "generation_config.json": {"eos_token_id": [3, 4]},
    }
    others, difference = FORMATS[name]
    models = []
    for role, written in (("teacher", files), ("student", files | others)):
        model = write(tmp_path / role, tokenizer_values())
        for file, values in written.items():
            (model.path / file).write_text(json.dumps(values))
        models.append(model)
    assert format_difference(*models) == difference


@pytest.mark.parametrize("broken", ["", "{", "[]"])
def test_a_broken_file_names_the_model_and_the_fix(broken: str, tmp_path: Path, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidModel) as refused:
        compare(tmp_path, tokenizer_values(), broken)
    check_message(refused.value, "student", "tokenizer.json")
