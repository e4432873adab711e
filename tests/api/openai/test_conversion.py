"""OpenAI's files: each form of line is a record that a job reads, or is left out with a reason; none is lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidData
from kubedistill.importers.openai.conversion import Conversion, convert, count_reasons
from kubedistill.importers.openai.folder import make_job, write_folder
from kubedistill.manifest.loading import load_manifest
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.data import read_records
from kubedistill_runtime.records import Message, Record, arrange

SYSTEM = {"role": "system", "content": "Be kind."}
USER, ASSISTANT = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]}
CHOICE = {"index": 0, "finish_reason": "stop", "message": {**ASSISTANT, "refusal": None}}
COMPLETION = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4.1", "choices": [CHOICE]}
REQUEST = {"model": "gpt-4.1", "messages": [SYSTEM, USER]}
TURNS = [SYSTEM, USER, ASSISTANT]

# A line, then the record.
READ: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fine-tuning": ({"messages": TURNS}, {"messages": TURNS}),
    "fine-tuning with tools that are not called": ({"messages": TURNS, "tools": [{"type": "function"}]},
                                                   {"messages": TURNS}),
    "fine-tuning with weights": (
        {"messages": [USER, {**ASSISTANT, "weight": 0}, USER, {**ASSISTANT, "weight": 1}]},
        {"messages": [USER, {**ASSISTANT, "weight": 0}, USER, {**ASSISTANT, "weight": 1}]},
    ),
    "a developer's message in parts": (
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}, USER, ASSISTANT]},
        {"messages": TURNS},
    ),
    "a reply with a part of reasoning": (
        {"messages": [SYSTEM, USER, {**ASSISTANT, "content": [{"type": "thinking", "thinking": []},
                                                              {"type": "text", "text": "Me."}]}]},
        {"messages": TURNS},
    ),
    "an empty system message": ({"messages": [{**SYSTEM, "content": ""}, USER, ASSISTANT]},
                                {"messages": TURNS[1:]}),
    "a prompt and its completion": ({"prompt": "Who?", "completion": " Me.\n"}, {"messages": TURNS[1:]}),
    "a preference": (
        {"input": {"messages": [SYSTEM, USER]}, "preferred_output": [ASSISTANT],
         "non_preferred_output": [{**ASSISTANT, "content": "Nobody."}]},
        {"messages": TURNS},
    ),
    "a stored completion": (
        {**COMPLETION, "messages": [SYSTEM, USER], "metadata": {"use": "faq"}},
        {"id": "chatcmpl-1", "messages": TURNS, "tags": ["use=faq"]},
    ),
    "request and response": ({"request": REQUEST, "response": COMPLETION}, {"messages": TURNS}),
    "the Responses API": (
        {"request": {"instructions": "Be kind.", "input": "Who?"},
         "response": {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Me."}]}]}},
        {"messages": TURNS},
    ),
    "an item": ({"item": {"input": "Who?", "ideal": "Me."}}, {"messages": [USER], "reference": ["Me."]}),
    "an item with a sample": (
        {"item": {"messages": [SYSTEM, USER], "correct_label": 4}, "sample": {"output_text": "5"}},
        {"messages": [SYSTEM, USER], "reference": ["4"]},
    ),
    "an item without an answer": ({"item": {"question": "Who?", "label": ""}}, {"messages": [USER]}),
    "an output item of a run": (
        {"object": "eval.run.output_item", "datasource_item": {"prompt": "Who?", "answer": "Me."}, "sample": {}},
        {"messages": [USER], "reference": ["Me."]},
    ),
    "the repository of evals": ({"input": [SYSTEM, USER], "ideal": ["Me.", "I."]},
                                {"messages": [SYSTEM, USER], "reference": ["Me.", "I."]}),
}  # fmt: skip

# A line that is left out, and a part of the reason.
LEFT_OUT: dict[str, tuple[Any, str]] = {
    "a tool call": ({"messages": [USER, CALL, {"role": "tool", "content": "1"}, ASSISTANT]}, "tool"),
    "an old function call": ({"messages": [USER, {"role": "assistant", "function_call": {"name": "f"}}]}, "tool"),
    "an image": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]}, "'image_url'"),
    "a last reply of weight 0": ({"messages": [USER, {**ASSISTANT, "weight": 0}]}, "weight 0"),
    "a weight of another kind": ({"messages": [USER, {**ASSISTANT, "weight": 0.5}]}, "neither 0 nor 1"),
    "an unknown role": ({"messages": [{"role": "critic", "content": "x"}]}, "'critic'"),
    "two user turns": ({"messages": [USER, USER]}, "in turn"),
    "a greeting": ({"messages": [ASSISTANT, USER, ASSISTANT]}, "in turn"),
    "a blank reply": ({"messages": [USER, {**ASSISTANT, "content": " "}]}, "no text"),
    "a lone surrogate": ({"messages": [USER, {**ASSISTANT, "content": "\ud800"}]}, "surrogate"),
    "a refusal": ({"messages": [USER, {"role": "assistant", "content": None, "refusal": "No."}]}, "refusal"),
    "no messages": ({"messages": []}, "not a list"),
    "a completion without its messages": (COMPLETION, "no known form"),
    "a cut reply": (
        {"request": REQUEST, "response": {"choices": [{"finish_reason": "length", "message": ASSISTANT}]}}, "cut off",
    ),
    "a reply that calls a tool": ({"request": REQUEST, "response": {"choices": [{"message": CALL}]}}, "no text"),
    "a blank completion": ({"prompt": "Who?", "completion": " "}, "completion"),
    "two preferred outputs": ({"input": REQUEST, "preferred_output": [ASSISTANT, ASSISTANT]}, "preferred"),
    "an item without a prompt": ({"item": {"ideal": "Me."}}, "messages, input"),
    "the result of a batch alone": ({"custom_id": "c", "response": {"status_code": 200}}, "no file has the request"),
    "another line": ({"text": "Who?"}, "'text'"),
    "a list": ([1], "no known form"),
}  # fmt: skip


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def read_back(folder: Path, split: str = "train") -> list[Record]:
    path = folder / f"{split}.jsonl"
    return read_records(path, split="train", task=Task(type="Conversation"), answers="Given").records


@pytest.mark.parametrize("case", READ)
def test_each_form_is_a_record_that_a_job_reads(case: str, tmp_path: Path) -> None:
    line, record = READ[case]
    found = convert([write(tmp_path / "export.jsonl", line)])
    assert (found.train, found.test, found.left_out) == ([record], [], [])
    write_folder(tmp_path / "data", found)
    (read,) = read_back(tmp_path / "data")
    answer = record.get("reference", ["Me."] if record["messages"][-1] == ASSISTANT else [])
    assert list(arrange(read, answers="Given").references) in (answer, ["Me."] if "weight" in str(record) else answer)
    assert [message.content for message in read.messages] == [one["content"] for one in record["messages"]]


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_left_out_is_listed_with_place_reason_and_line(case: str, tmp_path: Path) -> None:
    line, reason = LEFT_OUT[case]
    found = convert([write(tmp_path / "export.jsonl", {"messages": TURNS}, line)])
    assert len(found.train) == 1
    (left_out,) = found.left_out
    assert (left_out.at, left_out.line) == (f"{tmp_path / 'export.jsonl'}:2", line)
    assert reason in left_out.problem
    write_folder(tmp_path / "data", found)
    (listed,) = (tmp_path / "data" / "left-out.jsonl").read_text().splitlines()
    assert json.loads(listed) == {"at": left_out.at, "problem": left_out.problem, "line": line}


def test_what_is_lost_of_a_kept_record_is_counted(tmp_path: Path) -> None:
    named = {**USER, "name": "Jo"}
    lines = [{"messages": [named, ASSISTANT], "tools": [{}], "parallel_tool_calls": False, "split": "a"}] * 2
    assert convert([write(tmp_path / "export.jsonl", *lines)]).remarks == {
        "the key 'name' of messages was left out": 2,
        "the tools were left out: no model is shown them": 2,
        "the key 'split' was left out": 2,
    }


def batch(name: str, **parts: Any) -> dict[str, Any]:
    return {"custom_id": name, **(parts or {"method": "POST", "url": "/v1/chat/completions", "body": REQUEST})}


def test_a_request_of_a_batch_and_its_result_are_one_record_whatever_the_order(tmp_path: Path) -> None:
    result = {"status_code": 200, "request_id": "r", "body": COMPLETION}
    failed = batch("c", id="b", response=None, error={"code": "batch_expired"})
    results = write(tmp_path / "output.jsonl", batch("b", response=result, error=None), failed)
    requests = write(tmp_path / "input.jsonl", batch("a"), batch("b"), batch("c"), batch("b"))
    for files in ([requests, results], [results, requests]):
        found = convert(files)
        assert [(one["id"], len(one["messages"])) for one in found.train] == [("a", 2), ("b", 3)]  # type: ignore[arg-type]
        assert sorted(count_reasons(found.left_out)) == [("custom_id 'b' is used twice", 1), ("the request failed", 1)]
        assert not found.answered


def test_pages_of_the_api_and_arrays_are_lists_of_lines(tmp_path: Path) -> None:
    lines = [{"messages": TURNS}, {"messages": []}]
    for text in (json.dumps(lines, indent=2), json.dumps({"object": "list", "data": lines, "has_more": False})):
        (tmp_path / "page.json").write_text(f"\ufeff{text}\n")
        found = convert([tmp_path / "page.json"])
        assert (len(found.train), [one.at for one in found.left_out]) == (1, [f"{tmp_path / 'page.json'}: item 2"])


def test_evals_are_test_data_if_there_is_something_else_to_learn(tmp_path: Path) -> None:
    evals = write(tmp_path / "evals.jsonl", {"item": {"input": "Who?", "ideal": "Me."}})
    assert len(convert([evals]).train) == 1
    found = convert([evals, write(tmp_path / "train.jsonl", {"messages": TURNS})])
    assert (len(found.train), found.test) == (1, [{"messages": [USER], "reference": ["Me."]}])
    write_folder(tmp_path / "data", found)
    assert read_back(tmp_path / "data", "test")[0].references == ("Me.",)


def test_an_id_that_is_used_twice_is_removed(tmp_path: Path) -> None:
    line = {**COMPLETION, "messages": [USER]}
    found = convert([write(tmp_path / "export.jsonl", line, line)])
    assert [one.get("id") for one in found.train] == ["chatcmpl-1", None]
    assert found.remarks["the id was removed, because another record has it"] == 1


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("tests", [True, False])
@pytest.mark.parametrize("name", ["Support data", "2026", "x" * 80])
def test_the_job_is_valid_and_says_where_the_answers_come_from(
    answered: bool, tests: bool, name: str, tmp_path: Path
) -> None:
    record = {"messages": TURNS if answered else TURNS[:2]}
    (tmp_path / "job.yaml").write_text(make_job(Conversion([record], [record] * tests), name=name))
    spec = load_manifest(tmp_path / "job.yaml").spec
    assert spec.data.train.answers == ("Given" if answered else "Teacher")
    assert spec.data.train.uri == "train.jsonl"
    assert (spec.data.test is not None) == tests


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "zip.jsonl").write_bytes(b"PK\x03\x04\xff")
    for name in ("none.jsonl", "zip.jsonl"):
        with pytest.raises(InvalidData) as refused:
            convert([tmp_path / name])
        assert refused.value.at == str(tmp_path / name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "role", "content", "input", "output", "choices", "message", "body", "metadata",
                         "item", "ideal", "prompt", "completion", "preferred_output", "custom_id", "response",
                         "request", "weight", "id", "type", "text", "error", "status_code", "finish_reason"]),
        inner, max_size=5,
    ),
    max_leaves=15,
)  # fmt: skip
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.text(max_size=3) | JSON},
    optional={"weight": JSON, "refusal": JSON, "tool_calls": JSON},
)
LINES = JSON | st.fixed_dictionaries({"messages": st.lists(TURN, max_size=4)}, optional={"response": JSON, "id": JSON})


@given(lines=st.lists(LINES | st.text(max_size=8), max_size=5))
def test_no_line_is_lost_and_every_record_is_read(lines: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("openai")
    export = folder / "export.jsonl"
    good = json.dumps({"messages": TURNS})
    texts = [good, *(" ".join(json.dumps(line).splitlines()) for line in lines)]
    export.write_text("".join(f"{text}\n" for text in texts))
    found = convert([export])
    assert len(found.train) + len(found.test) + len(found.left_out) == len(texts)
    write_folder(folder / "data", found)
    read = read_back(folder / "data")
    assert len(read) == len(found.train)
    assert read[0].messages == tuple(Message(**turn) for turn in TURNS)
