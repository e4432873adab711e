"""The shapes that people have: read as our records where nothing is lost, with a note, else refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import InvalidData
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.data import DataFile, read_records
from kubedistill_runtime.records import Message, Record
from support.messages import CheckMessage


def read(tmp_path: Path, *records: Any, task: str = "QA", labels: tuple[str, ...] = ()) -> DataFile:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(record if isinstance(record, str) else json.dumps(record) for record in records))
    return read_records(path, split="train", task=Task(type=task, labels=labels or None), answers="Teacher")


def turns(*texts: str, roles: str = "user assistant") -> list[dict[str, Any]]:
    names = roles.split() * len(texts)
    return [{"role": role, "content": text} for role, text in zip(names, texts, strict=False)]


def said(record: Record) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in record.messages]


Q, A = ("user", "Who?"), ("assistant", "Me.")
S = ("system", "Be kind.")
SHAREGPT = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Me."}]
SYSTEM = {"role": "system", "content": "Be kind."}

# What is written, then as single-turn (messages, references), as conversation (messages, references), and the notes.
READ: dict[str, tuple[dict[str, Any], Any, Any, list[str]]] = {
    "our own": ({"prompt": "Who?", "reference": "Me."}, ([Q], ["Me."]), ([Q], ["Me."]), []),
    "OpenAI chat": (
        {"messages": [SYSTEM, *turns("Who?", "Me.")]}, ([S, Q], ["Me."]), ([S, Q, A], []),
        ["the final assistant turn was read as the reference"],
    ),
    "OpenAI chat with a reference": (
        {"messages": turns("Who?", "Me."), "reference": "I."}, ([Q], ["I."]), ([Q, A], ["I."]),
        ["the final assistant turn is not read, because the record has a reference"],
    ),
    "a developer's message": (
        {"messages": [{"role": "developer", "content": "Be kind."}, *turns("Who?")]}, ([S, Q], []), ([S, Q], []),
        ["the role 'developer' was read as 'system'"],
    ),
    "roles in capitals": (
        {"messages": [{"role": "User", "content": "Who?"}]}, ([Q], []), ([Q], []),
        ["the role 'User' was read as 'user'"],
    ),
    "content in one part": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Who?"}]}]}, ([Q], []), ([Q], []),
        ["content is in one part of type text"],
    ),
    "content in two parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": part} for part in "ab"]}]},
        ([("user", "a\nb")], []), ([("user", "a\nb")], []), ["parts of content were joined by line breaks"],
    ),
    "names and nulls": (
        {"messages": [{"role": "user", "content": "Who?", "name": "Jo", "tool_calls": None, "weight": None}],
         "id": None, "tags": None, "reference": None, "tools": None},
        ([Q], []), ([Q], []), ["the key 'name' of messages is not read"],
    ),
    "an empty list of tool calls": (
        {"messages": [{"role": "user", "content": "Who?", "tool_calls": []}]}, ([Q], []), ([Q], []),
        ["the key 'tool_calls' of messages is not read"],
    ),
    "an answer of weight 1": (
        {"messages": [*turns("Who?"), {"role": "assistant", "content": "Me.", "weight": 1}]},
        ([Q], ["Me."]), ([Q, A], []), ["the final assistant turn was read as the reference"],
    ),
    "an answer of weight 0": (
        {"messages": [*turns("Who?"), {"role": "assistant", "content": "Me.", "weight": 0}]}, ([Q], []), ([Q], []),
        ["a final assistant turn of weight 0 was removed"],
    ),
    "tools and a weight of the record": (
        {"messages": turns("Who?"), "tools": [{"type": "function"}], "weight": 2}, ([Q], []), ([Q], []),
        ["the key 'tools' is not read: no model is shown the tools",
         "the key 'weight' is not read: every record counts once"],
    ),
    "ShareGPT": (
        {"conversations": SHAREGPT}, ([Q], ["Me."]), ([Q, A], []),
        ["ShareGPT format; human and gpt turns were read as user and assistant turns",
         "the final assistant turn was read as the reference"],
    ),
    "ShareGPT with a system prompt next to it": (
        {"conversations": SHAREGPT[:1], "system": "Be kind."}, ([S, Q], []), ([S, Q], []),
        ["ShareGPT format; human and gpt turns were read as user and assistant turns"],
    ),
    "ShareGPT with a system turn": (
        {"conversations": [{"from": "system", "value": "Be kind."}, *SHAREGPT[:1]]}, ([S, Q], []), ([S, Q], []),
        ["ShareGPT format; human and gpt turns were read as user and assistant turns"],
    ),
    "a system prompt next to messages": (
        {"system": "Be kind.", "messages": turns("Who?")}, ([S, Q], []), ([S, Q], []), [],
    ),
    "Alpaca": (
        {"instruction": "Who?", "input": "", "output": "Me."}, ([Q], ["Me."]), ([Q], ["Me."]),
        ["Alpaca format; the instruction was read as the prompt", "the output was read as the reference"],
    ),
    "Alpaca with an input": (
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        ([("user", "Add.\n\n1, 2")], ["3"]), ([("user", "Add.\n\n1, 2")], ["3"]),
        ["Alpaca format; instruction and input were read as the prompt, with an empty line in between",
         "the output was read as the reference"],
    ),
    "Alpaca without an output": (
        {"instruction": "Who?", "output": ""}, ([Q], []), ([Q], []),
        ["Alpaca format; the instruction was read as the prompt"],
    ),
    "Alpaca with an empty system prompt": (
        {"instruction": "Who?", "input": "", "output": "Me.", "system": "", "history": []}, ([Q], ["Me."]),
        ([Q], ["Me."]),
        ["Alpaca format; the instruction was read as the prompt", "the key 'history' is not read",
         "the output was read as the reference"],
    ),
    "a blank system prompt next to a system message": (
        {"messages": [SYSTEM, *turns("Who?")], "system": " \n"}, ([S, Q], []), ([S, Q], []), [],
    ),
    "an empty system message": (
        {"messages": [{"role": "system", "content": ""}, *turns("Who?")]}, ([Q], []), ([Q], []), [],
    ),
    "a system message without content next to a system prompt": (
        {"messages": [{"role": "system", "content": None}, *turns("Who?")], "system": "Be kind."},
        ([S, Q], []), ([S, Q], []), [],
    ),
    "an empty system turn of ShareGPT": (
        {"conversations": [{"from": "system", "value": " "}, *SHAREGPT[:1]]}, ([Q], []), ([Q], []),
        ["ShareGPT format; human and gpt turns were read as user and assistant turns"],
    ),
    "ultrachat": (
        {"prompt": "Who?", "prompt_id": "f0e3", "messages": turns("Who?", "Me.")}, ([Q], ["Me."]), ([Q, A], []),
        ["the final assistant turn was read as the reference", "the key 'prompt_id' is not read; did you mean 'id'?",
         "the prompt is not read, because it is the first user turn of the record"],
    ),
    "a prompt next to messages with a system message": (
        {"prompt": "Who?\n", "messages": [SYSTEM, *turns("Who?")]}, ([S, Q], []), ([S, Q], []),
        ["the prompt is not read, because it is the first user turn of the record"],
    ),
    "a prompt next to ShareGPT": (
        {"prompt": "Who?", "conversations": SHAREGPT[:1]}, ([Q], []), ([Q], []),
        ["ShareGPT format; human and gpt turns were read as user and assistant turns",
         "the prompt is not read, because it is the first user turn of the record"],
    ),
    "Dolly": (
        {"instruction": "Add.", "context": "1, 2", "response": "3", "category": "math"},
        ([("user", "Add.\n\n1, 2")], ["3"]), ([("user", "Add.\n\n1, 2")], ["3"]),
        ["Dolly format; instruction and context were read as the prompt, with an empty line in between",
         "the key 'category' is not read", "the response was read as the reference"],
    ),
    "Dolly without a context": (
        {"instruction": "Who?", "context": "", "response": "Me."}, ([Q], ["Me."]), ([Q], ["Me."]),
        ["Dolly format; the instruction was read as the prompt", "the response was read as the reference"],
    ),
    "Alpaca with an empty output and a response": (
        {"instruction": "Who?", "output": "", "response": "Me."}, ([Q], ["Me."]), ([Q], ["Me."]),
        ["Dolly format; the instruction was read as the prompt", "the response was read as the reference"],
    ),
    "a context that the prompt was made of": (
        {"prompt": "Read this.\nIt  rains.\nWho?", "context": "It rains."},
        ([("user", "Read this.\nIt  rains.\nWho?")], []), ([("user", "Read this.\nIt  rains.\nWho?")], []),
        ["the key 'context' is not read"],
    ),
    "passages that the prompt was made of": (
        {"messages": turns("One. Two. Who?"), "documents": [{"id": 7, "text": "One."}, "Two."]},
        ([("user", "One. Two. Who?")], []), ([("user", "One. Two. Who?")], []), ["the key 'documents' is not read"],
    ),
    "preferences": (
        {"prompt": "Who?", "chosen": "Me.", "rejected": "You."}, ([Q], []), ([Q], []),
        ["the key 'chosen' is not read; did you mean 'reference'?", "the key 'rejected' is not read"],
    ),
    "prompt and completion": (
        {"prompt": "Who?", "completion": " Me."}, ([Q], [" Me."]), ([Q], [" Me."]),
        ["the completion was read as the reference"],
    ),
    "prompt, completion and reference": (
        {"prompt": "Who?", "completion": "Me.", "reference": ["I.", "You."]}, ([Q], ["I.", "You."]),
        ([Q], ["I.", "You."]), ["the completion is not read, because the record has a reference"],
    ),
    "prompt and completion as messages": (
        {"prompt": turns("Who?"), "completion": turns("Me.", roles="assistant")}, ([Q], ["Me."]), ([Q], ["Me."]),
        ["the completion was read as the reference"],
    ),
    "an id that is a number": ({"prompt": "Who?", "id": 17}, ([Q], []), ([Q], []), []),
    "a reference that is a number": ({"prompt": "Who?", "reference": [42, None]}, ([Q], ["42"]), ([Q], ["42"]), []),
}  # fmt: skip


@pytest.mark.parametrize("task", ["QA", "Conversation"])
@pytest.mark.parametrize("shape", READ)
def test_a_shape_is_read_without_loss_and_noted(shape: str, task: str, tmp_path: Path) -> None:
    values, single, several, notes = READ[shape]
    found = read(tmp_path, values, task=task)
    (record,) = found.records
    assert (said(record), list(record.references)) == (single if task == "QA" else several)
    if task == "Conversation":
        notes = [note for note in notes if "final assistant turn" not in note or "weight" in note]
    assert list(found.notes) == [f"1 of 1 records: {note}" for note in notes]


def test_a_conversation_may_end_with_either_turn(tmp_path: Path) -> None:
    for count in (1, 2, 3, 4):
        (record,) = read(tmp_path, {"messages": turns(*"abcd"[:count])}, task="Conversation").records
        assert [message.content for message in record.messages] == list("abcd"[:count])


def test_notes_say_each_thing_once_a_file_with_its_count(tmp_path: Path) -> None:
    found = read(tmp_path, *({"prompt": "a", "label": "x"} for _ in range(1200)), {"prompt": "b"})
    assert found.notes == ("1,200 of 1,201 records: the key 'label' is not read; did you mean 'reference'?",)


GUESSES = {
    "label": "reference", "answer": "reference", "answers": "reference", "output": "reference",
    "expected_output": "reference", "gold": "reference", "target": "reference", "ideal": "reference",
    "response": "reference", "Label": "reference", "ground_truth": "reference", "idx": "id", "ID": "id", "tag": "tags",
    "source": None, "category": None, "prompt_id": "id",
}  # fmt: skip


@pytest.mark.parametrize("key", GUESSES)
def test_a_key_that_is_not_read_is_named_with_a_guess(key: str, tmp_path: Path) -> None:
    (note,) = read(tmp_path, {"prompt": "a", key: "x"}).notes
    guess = f"; did you mean {GUESSES[key]!r}?" if GUESSES[key] else ""
    assert note == f"1 of 1 records: the key {key!r} is not read{guess}"


def test_no_guess_is_made_for_what_the_record_has(tmp_path: Path) -> None:
    assert read(tmp_path, {"prompt": "a", "reference": "b", "label": "x", "references": "y"}).notes == (
        "1 of 1 records: the key 'label' is not read",
        "1 of 1 records: the key 'references' is not read",
    )


def test_a_thousand_unknown_keys_are_not_a_thousand_notes(tmp_path: Path) -> None:
    notes = read(tmp_path, {"prompt": "a", **{f"column {number}": 1 for number in range(1000)}}).notes
    assert (len(notes), notes[-1]) == (21, "and 980 more notes")


def conversation(**last_but_two: Any) -> dict[str, Any]:
    """Return a record whose first assistant turn has some more keys."""
    first, reply, *others = turns("a", "b", "c", "d")
    return {"messages": [first, {**reply, **last_but_two}, *others]}


@pytest.mark.parametrize(
    ("keys", "target"),
    [
        ({}, True), ({"weight": 1}, True), ({"weight": 0}, False), ({"weight": 0.0}, False), ({"weight": False}, False),
        ({"weight": None}, True), ({"train": False}, False), ({"training": False}, False), ({"train": True}, True),
        ({"train": True, "weight": 0}, False), ({"weight": 0.5}, True),
    ],
)  # fmt: skip
def test_a_turn_of_weight_0_is_context_alone(keys: dict[str, Any], target: bool, tmp_path: Path) -> None:
    (record,) = read(tmp_path, conversation(**keys), task="Conversation").records
    assert [message.target for message in record.messages] == [True, target, True, True]
    assert [message.content for message in record.messages] == ["a", "b", "c", "d"]


def test_a_turn_of_sharegpt_may_be_context_alone(tmp_path: Path) -> None:
    record = {"conversations": [SHAREGPT[0], {**SHAREGPT[1], "train": False}, *SHAREGPT]}
    (found,) = read(tmp_path, record, task="Conversation").records
    assert [message.target for message in found.messages] == [True, False, True, True]


def test_a_question_of_weight_0_is_a_question(tmp_path: Path) -> None:
    asked, *others = turns("a", "b")
    (found,) = read(tmp_path, {"messages": [{**asked, "weight": 0}, *others]}, task="Conversation").records
    assert found.messages == (Message("user", "a"), Message("assistant", "b"))


TOOL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
REFUSED: dict[str, tuple[Any, str]] = {
    "a tool call": ({"messages": [*turns("Who?"), TOOL]}, "message 2"),
    "a function call": ({"messages": [{**turns("a")[0], "function_call": {"name": "f"}}]}, "message 1"),
    "a tool's result": ({"messages": [{"role": "tool", "content": "4"}]}, "'tool'"),
    "a function's result": ({"messages": [{"role": "function", "content": "4"}]}, "'function'"),
    "ShareGPT's observation": ({"conversations": [{"from": "observation", "value": "4"}]}, "'observation'"),
    "an unknown role": ({"messages": [{"role": "bot", "content": "4"}]}, "'bot'"),
    "no role": ({"messages": [{"content": "4"}]}, "message 1"),
    "a role that is a list": ({"messages": [{"role": ["user"], "content": "4"}]}, "message 1"),
    "an image": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "'image_url'"),
    "audio next to text": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_audio"}]}]},
        "'input_audio'",
    ),
    "a part that is a string": ({"messages": [{"role": "user", "content": ["a"]}]}, "'str'"),
    "no parts": ({"messages": [{"role": "user", "content": []}]}, "message 1"),
    "a content that is null": (
        {"messages": [{"role": "user", "content": None}]}, "message 1",
    ),
    "a system message alone that is empty": ({"messages": [{"role": "system", "content": ""}]}, "none"),
    "an empty system message that is not the first": (
        {"messages": [*turns("a"), {"role": "system", "content": ""}]}, "message 2",
    ),
    "a system prompt that is a number": ({"prompt": "a", "system": 7}, "7"),
    "a prompt that is not the first turn": (
        {"prompt": "c", "messages": turns("a", "b", "c")}, "messages, prompt",
    ),
    "a prompt and no messages": ({"prompt": "a", "messages": []}, "messages, prompt"),
    "three prompts": (
        {"prompt": "a", "messages": turns("a"), "conversations": SHAREGPT}, "messages, prompt",
    ),
    "a weight in words": (conversation(weight="0"), "'weight'"),
    "a string for train": (conversation(train="no"), "'train'"),
    "an input and a context": (
        {"instruction": "a", "input": "b", "context": "c"}, "'context'",
    ),
    "a context next to messages": ({"messages": turns("a"), "context": "It rains."}, "'context'"),
    "a passage next to a prompt": ({"prompt": "a", "Passage": "It rains."}, "'Passage'"),
    "one of two documents": ({"prompt": "One. Who?", "documents": ["One.", "Two."]}, "'documents'"),
    "an input next to a prompt": ({"prompt": "Add.", "input": "1, 2"}, "'input'"),
    "another name of the system prompt": ({"prompt": "a", "system_prompt": "Be kind."}, "'system_prompt'"),
    "LLaMA-Factory's history": (
        {"instruction": "b", "input": "", "output": "c", "history": [["a", "It rains."]]}, "'history'",
    ),
    "a history next to a prompt": ({"prompt": "b", "chat_history": turns("a")}, "'chat_history'"),
    "messages that are strings": ({"messages": ["hello"]}, "message 1"),
    "conversations that are a string": ({"conversations": "hello"}, "conversations"),
    "two system prompts": ({"system": "a", "messages": [SYSTEM, *turns("b")]}, "'system'"),
    "two prompts": ({"prompt": "a", "messages": turns("b")}, "messages, prompt"),
    "an instruction and messages": ({"instruction": "a", "messages": turns("b")}, "messages, prompt"),
    "SQuAD": ({"context": "a", "question": "b"}, "'context', 'question'"),
    "a prompt that is null": ({"prompt": None}, "none"),
    "a completion of two turns": ({"prompt": turns("a"), "completion": turns("a", "b")}, "completion"),
    "true for an id": ({"prompt": "a", "id": True}, "true"),
    "true for a reference": ({"prompt": "a", "reference": True}, "true"),
    "a reference with a dot": ({"prompt": "a", "reference": 3.5}, "3.5"),
    "false among references": ({"prompt": "a", "reference": ["b", False]}, "false"),
    "a list in a list of references": ({"prompt": "a", "reference": [["b"]]}, "reference"),
    "a number for an output": ({"instruction": "a", "output": 2.5}, "2.5"),
    "a misspelled conversation": ({"conversation": turns("a")}, "'conversation'"),
    "a misspelled reference": ({"prompt": "a", "References": "b"}, "'References'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_without_loss_is_refused_by_name(
    case: str, tmp_path: Path, check_message: CheckMessage
) -> None:
    record, named = REFUSED[case]
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, record, task="Conversation")
    assert caught.value.at == f"{tmp_path / 'train.jsonl'}:1"
    assert caught.value.fix
    check_message(caught.value, named)


FIXES: dict[str, Any] = {
    "a number": {"prompt": "a", "reference": 3.5},
    "a truth value": {"prompt": "a", "reference": True},
    "a history": {"prompt": "b", "history": [["a", "It rains."]]},
    "a context": {"prompt": "b", "context": "It rains."},
    "a system prompt of another name": {"prompt": "b", "system_prompt": "Be kind."},
    "a greeting": {"messages": turns("Hello!", "a", roles="assistant user")},
    "a greeting after a system message": {"messages": [SYSTEM, *turns("Hello!", "a", roles="assistant user")]},
    "two questions": {"messages": turns("a", "b", roles="user user")},
}


@pytest.mark.parametrize("task", ["QA", "Conversation"])
@pytest.mark.parametrize("case", FIXES)
def test_the_way_out_is_told(case: str, task: str, tmp_path: Path, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, FIXES[case], task=task)
    assert caught.value.fix
    check_message(caught.value)


def test_numbers_are_ids_as_they_are_written_and_may_not_repeat_a_string(
    tmp_path: Path, check_message: CheckMessage
) -> None:
    found = read(tmp_path, {"prompt": "a", "id": 17}, {"prompt": "b", "id": 1.5}, {"prompt": "c", "id": None})
    assert [record.id for record in found.records] == ["17", "1.5", "train-000003"]
    with pytest.raises(InvalidData) as refused:
        read(tmp_path, {"prompt": "a", "id": 17}, {"prompt": "b", "id": "17"})
    check_message(refused.value, "'17'")


def test_records_of_an_array_are_named_after_their_place(tmp_path: Path) -> None:
    found = read(tmp_path, json.dumps([{"prompt": "a"}, {"prompt": "b"}], indent=2))
    assert [record.id for record in found.records] == ["train-000001", "train-000002"]
    assert found.notes == ("the file is a JSON array",)


def test_the_final_turn_of_a_label_task_is_a_label(tmp_path: Path, check_message: CheckMessage) -> None:
    chat = {"messages": turns("Who?", " YES\n")}
    (record,) = read(tmp_path, chat, task="Classification", labels=("yes", "no")).records
    assert record == Record("train-000001", (Message("user", "Who?"),), ("yes",))
    with pytest.raises(InvalidData) as refused:
        read(tmp_path, {"messages": turns("Who?", "perhaps")}, task="Classification", labels=("yes", "no"))
    check_message(refused.value, "'perhaps'")
