"""Logs of production: read as prompts; a reply is an answer to learn only where the manifest says so."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidData
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.data import DataFile, read_records
from kubedistill_runtime.records import Answers, Message
from support.messages import CheckMessage

ASKED = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Who?"}]
MESSAGES = (Message("system", "Be kind."), Message("user", "Who?"))
REQUEST = {"model": "gpt-4.1", "messages": ASKED, "temperature": 0.2}
REPLY = {"role": "assistant", "content": "Me.", "refusal": None, "annotations": []}
RESPONSE = {"id": "chatcmpl-1", "object": "chat.completion",
            "choices": [{"index": 0, "message": REPLY, "finish_reason": "stop"}]}  # fmt: skip
OUTPUT = [
    {"type": "reasoning", "summary": []},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Me.", "annotations": []}]},
]
LITELLM = {"user_api_key_hash": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05", "user_api_key_alias": None}

# An entry, then the id and the tags of its record; an id of None is the number of the line.
LOGS: dict[str, tuple[dict[str, Any], str | None, tuple[str, ...]]] = {
    "request and response": ({"request": REQUEST, "response": RESPONSE}, None, ()),
    "NVIDIA Data Flywheel": (
        {"timestamp": 1764236845, "client_id": "acme", "workload_id": "routing", "request": REQUEST,
         "response": RESPONSE},
        None, ("routing",),
    ),
    "metadata of the request": (
        {"request": {**REQUEST, "metadata": {"use": "faq", "team": "a"}}, "response": RESPONSE}, None,
        ("team=a", "use=faq"),
    ),
    "own id and tags": (
        {"id": "one", "tags": ["a"], "request": {**REQUEST, "metadata": {"use": "faq"}}, "response": RESPONSE}, "one",
        ("a",),
    ),
    "parts with reasoning": (
        {"request": REQUEST, "response": {"choices": [{"finish_reason": "stop", "message": {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": REPLY["content"]}]}}]}},
        None, (),
    ),
    "Responses API": (
        {"request": {"instructions": "Be kind.", "input": "Who?"}, "response": {"status": "completed",
         "output": OUTPUT}}, None, (),
    ),
    "Responses API with parts": (
        {"request": {"input": [ASKED[0], {"type": "message", "role": "user",
                                          "content": [{"type": "input_text", "text": "Who?"}]}]},
         "response": {"output": OUTPUT}}, None, (),
    ),
    "a line of a batch and its result": (
        {"custom_id": "c-1", "method": "POST", "url": "/v1/chat/completions", "body": REQUEST,
         "response": {"status_code": 200, "request_id": "r", "body": RESPONSE}}, "c-1", (),
    ),
    "Helicone": (
        {"request_id": "h-1", "request_body": REQUEST, "response_body": RESPONSE, "response_status": 200}, "h-1", (),
    ),
    "LiteLLM": (
        {"id": "l-1", "call_type": "acompletion", "messages": ASKED, "response": RESPONSE, "metadata": LITELLM},
        "l-1", (),
    ),
    "stored completion": ({**RESPONSE, "messages": ASKED, "metadata": {"use": "faq"}}, "chatcmpl-1", ("use=faq",)),
    "Langfuse": (
        {"id": "f-1", "type": "GENERATION", "input": {"messages": ASKED}, "output": REPLY}, "f-1", (),
    ),
    "Langfuse as strings": (
        {"id": "f-1", "type": "GENERATION", "input": json.dumps(ASKED), "output": json.dumps(REPLY)}, "f-1", (),
    ),
    "Langfuse with a reply of text": (
        {"id": "f-1", "type": "GENERATION", "input": ASKED, "output": "Me."}, "f-1", (),
    ),
}  # fmt: skip


def read(tmp_path: Path, *entries: Any, answers: Answers, task: str = "QA") -> DataFile:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in entries))
    return read_records(path, split="train", task=Task(type=task), answers=answers)


@pytest.mark.parametrize("case", LOGS)
@pytest.mark.parametrize("task", ["QA", "Conversation"])
def test_a_reply_is_an_answer_to_learn_and_never_a_judge(case: str, task: str, tmp_path: Path) -> None:
    entry, name, tags = LOGS[case]
    (asked,) = read(tmp_path, entry, answers="Teacher", task=task).records
    assert (asked.id, asked.tags, asked.messages) == (name or "train-000001", tags, MESSAGES)
    assert asked.references == ()
    (answered,) = read(tmp_path, entry, answers="Given", task=task).records
    assert (answered.messages, answered.references) == (MESSAGES, ("Me.",))


def test_a_reference_of_the_entry_has_precedence(tmp_path: Path) -> None:
    entry = {"request": REQUEST, "response": RESPONSE, "reference": "You."}
    for answers in ("Teacher", "Given"):
        assert read(tmp_path, entry, answers=answers).records[0].references == ("You.",)  # type: ignore[arg-type]


def test_what_of_a_request_the_models_do_not_see_is_noted(tmp_path: Path) -> None:
    entry = {"request": {**REQUEST, "tools": [{"type": "function"}], "functions": []}, "response": RESPONSE}
    assert read(tmp_path, entry, answers="Given").notes == (
        "1 of 1 records: request and response log; the messages of the request were read",
        "1 of 1 records: the key 'tools' of the request is not read: no model is shown the tools",
        "1 of 1 records: the reply was read as the reference",
    )


def chose(**parts: Any) -> dict[str, Any]:
    """Return an entry whose only choice has other parts."""
    return {"request": REQUEST, "response": {"choices": [{"message": REPLY, "finish_reason": "stop", **parts}]}}


CALL = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
NO_REPLY: dict[str, tuple[dict[str, Any], str]] = {
    "cut off": (chose(finish_reason="length"), "cut off"),
    "cut off by Google": (chose(finish_reason="MAX_TOKENS"), "cut off"),
    "broken off": (chose(finish_reason="insufficient_system_resource"), "could not finish"),
    "filtered by Google": (chose(finish_reason="SAFETY"), "content filter"),
    "filtered": (chose(finish_reason="content_filter"), "content filter"),
    "a tool call": (chose(finish_reason="tool_calls", message={"content": None, "tool_calls": CALL}), "tools"),
    "a tool call with text": (chose(message={"content": "Wait.", "tool_calls": CALL}), "no text"),
    "a refusal": (chose(message={"content": None, "refusal": "I can't."}), "no text"),
    "blank": (chose(message={"role": "assistant", "content": " "}), "no text"),
    "only reasoning": (chose(message={"content": [{"type": "thinking", "thinking": []}]}), "no text"),
    "an image": (chose(message={"content": [{"type": "image_url"}]}), "no text"),
    "two choices": ({"request": REQUEST, "response": {"choices": [{"message": REPLY}] * 2}}, "2 choices"),
    "an error": ({"request": REQUEST, "response": {"error": {"message": "overloaded"}}}, "failed"),
    "no response": ({"request": REQUEST, "response": {}}, "no response"),
    "a failed line of a batch": (
        {"custom_id": "c", "body": REQUEST, "response": {"status_code": 429, "body": {}}}, "429",
    ),
    "a line of a batch alone": ({"custom_id": "c", "body": REQUEST}, "no response"),
    "an incomplete response": (
        {"request": {"input": "Who?"}, "response": {"output": OUTPUT, "status": "incomplete",
         "incomplete_details": {"reason": "max_output_tokens"}}}, "cut off",
    ),
    "a call of the Responses API": (
        {"request": {"input": "Who?"}, "response": {"output": [{"type": "function_call", "name": "f"}]}}, "tools",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_REPLY)
def test_a_prompt_without_a_whole_reply_is_no_answer_to_learn(
    case: str, tmp_path: Path, check_message: CheckMessage
) -> None:
    entry, named = NO_REPLY[case]
    assert read(tmp_path, entry, answers="Teacher").records[0].messages[-1] == Message("user", "Who?")
    with pytest.raises(InvalidData) as refused:
        read(tmp_path, entry, answers="Given")
    assert refused.value.at == f"{tmp_path / 'train.jsonl'}:1"
    check_message(refused.value, named, "kubedistill import openai")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a beginning of the reply": (
        {"request": {"messages": [*ASKED, {"role": "assistant", "content": "M"}]}, "response": RESPONSE}, "'assistant'",
    ),
    "a result of a tool": (
        {"request": {"messages": [*ASKED, {"role": "tool", "content": "1"}]}, "response": RESPONSE}, "'tool'",
    ),
    "a tool call before": (
        {"request": {"messages": [ASKED[1], {"role": "assistant", "content": "x", "tool_calls": CALL}, ASKED[1]]},
         "response": RESPONSE}, "tool calls",
    ),
    "messages that are elsewhere": (
        {"request": {"input": "And?", "previous_response_id": "resp_1"}, "response": {"output": OUTPUT}},
        "previous_response_id",
    ),
    "documents that no message has": (
        {"request": {**REQUEST, "documents": [{"text": "A page."}]}, "response": RESPONSE}, "'documents'",
    ),
    "an item of another type": (
        {"request": {"input": [{"type": "function_call_output", "output": "1"}]}, "response": {"output": OUTPUT}},
        "'function_call_output'",
    ),
    "no messages": ({"request": {"model": "gpt-4.1"}, "response": RESPONSE}, "no messages"),
    "the output of a batch": ({"custom_id": "c", "response": {"status_code": 200}}, "batch"),
    "an eval": ({"item": {"input": "Who?"}}, "eval"),
    "a preference": ({"input": {"messages": ASKED}, "preferred_output": [REPLY]}, "preference"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_say_what_a_model_was_shown_is_refused(
    case: str, tmp_path: Path, check_message: CheckMessage
) -> None:
    entry, named = REFUSED[case]
    with pytest.raises(InvalidData) as refused:
        read(tmp_path, entry, answers="Teacher", task="Conversation")
    check_message(refused.value, named)


def test_a_record_that_only_looks_like_a_log_stays_a_record(tmp_path: Path) -> None:
    records = [
        {"instruction": "Who?", "response": "Me."},
        {"prompt": "Who?", "item": {"id": 1}, "request": "a string"},
        {"messages": ASKED, "response": "Me.", "type": "GENERATION"},
    ]
    for record in records:
        assert read(tmp_path, record, answers="Teacher").records[0].messages[-1] == Message("user", "Who?")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["messages", "role", "content", "input", "output", "choices", "message", "body", "metadata",
                         "type", "text", "error", "status_code", "finish_reason"]), inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(request=JSON, response=JSON, answers=st.sampled_from(["Teacher", "Given"]))
def test_any_entry_is_a_record_or_a_problem(
    request: Any, response: Any, answers: Answers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    entries = [
        {"request": request, "response": response},
        {"request_body": {"messages": request}, "response_body": response},
        {"request": {"input": request}, "response": {"output": response}},
        {"type": "GENERATION", "input": request, "output": response},
    ]
    for entry in entries:
        try:
            found = read(tmp_path_factory.getbasetemp(), entry, answers=answers, task="Conversation")
        except InvalidData:
            continue
        assert found.records[0].messages[-1].role == "user"
