"""A teacher at an endpoint: from the prompts to the samples, its figures and its cost, on a real server."""

from collections.abc import Iterator
from typing import Any

import pytest

from kubedistill.contract.artifacts import JudgeFigures
from kubedistill.errors import BadCredentials, InvalidInput, LowYield
from kubedistill_runtime.records import Message
from kubedistill_runtime.storage.artifacts import read_figures
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from support.endpoint_server import EndpointServer, Reaction, Received, chat, endpoint_server, problem
from support.job_folder import QUICKSTART
from support.stage_runner import StageRunner

KEY = "sk-canary-5d0f"


@pytest.fixture
def server(runner: StageRunner, monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointServer]:
    """Yield the endpoint of the job's teacher, which answers each prompt with yes."""
    with endpoint_server(lambda received: Reaction(body=chat("yes"))) as server:
        endpoint = {"model": "large", "url": f"{server.url}/v1", "prices": {"input": 2.0, "output": 8.0}}
        runner.job_folder.set("teachers.0", {"name": "main", "endpoint": endpoint})
        monkeypatch.setenv("KUBEDISTILL_KEY_MAIN", KEY)
        yield server


def figures(runner: StageRunner) -> JudgeFigures:
    """Return what the judge artifact says."""
    return read_figures(runner.job_folder.store, "judge", runner.job_folder.keys()["judge"], JudgeFigures)


def test_text_of_an_endpoint_becomes_samples_without_an_engine(runner: StageRunner, server: EndpointServer) -> None:
    outcome = runner.run("Prepare", "Generate")
    said = outcome.summary
    assert (said.answers, said.generated, said.teacher_tokens) == (56, 56, 56 * 3)
    assert (runner.engines.opened, len(server.received)) == (0, 56)
    assert {one.headers["authorization"] for one in server.received} == {f"Bearer {KEY}"}
    store, keys = runner.job_folder.store, runner.job_folder.keys()
    answered = list(read_answer_set(store, "judge", keys["judge"], "test"))
    assert {(turn.text, turn.completion_ids, turn.top) for one in answered for turn in one.answer.turns} == {
        ("yes", (), None)
    }
    found = figures(runner)
    assert found.serving is None
    assert found.endpoint is not None
    assert (found.endpoint.answers, found.endpoint.prompt_tokens, found.endpoint.completion_tokens) == (16, 112, 48)
    assert found.endpoint.models == {"teacher-1 fp_1": 16}
    curated = runner.run("Curate").summary
    assert (curated.kept, curated.samples, curated.without_logprobs) == (40, 40, 40)


def test_the_same_prompts_are_paid_once(runner: StageRunner, server: EndpointServer) -> None:
    runner.run("Prepare", "Generate")
    assert runner.said[-1].dollars == pytest.approx(56 * (7 * 2.0 + 3 * 8.0) / 1e6), "7 tokens to read, 3 to write"
    runner.job_folder.set("teachers.0.endpoint.maxInFlight", 2)
    runner.job_folder.set("teachers.0.endpoint.prices.input", 3.0)
    summary = runner.run("Generate").summary
    assert (summary.generated, summary.teacher_tokens, len(server.received)) == (0, 0, 56)
    assert runner.said[-1].dollars == 0


@pytest.mark.parametrize(
    ("finish", "reason"), [("content_filter", "Filtered"), ("length", "Unfinished"), ("tool_calls", "Unfinished")]
)
def test_what_an_endpoint_does_not_answer_is_rejected_with_its_reason(
    finish: str, reason: str, runner: StageRunner, server: EndpointServer
) -> None:
    def react(received: Received) -> Reaction:
        return Reaction(body=chat("yes", finish=finish if received.prompt.endswith("7") else "stop"))

    server.react = react
    runner.run("Prepare", "Generate")
    assert runner.run("Curate").summary.rejected == {reason: 4}


def test_the_samples_of_a_prompt_have_seeds_of_their_own(runner: StageRunner, server: EndpointServer) -> None:
    runner.job_folder.set("generation.samplesPerPrompt", 3)
    runner.job_folder.set("generation.temperature", 1.0)
    runner.run("Prepare", "Generate")
    seeds = {(one.prompt, one.body["seed"]) for one in server.received if one.body["temperature"] == 1}
    assert len(seeds) == 3 * 40


def test_greedy_answers_of_a_model_that_refuses_temperature_0_are_counted(
    runner: StageRunner, server: EndpointServer
) -> None:
    refusal = problem(
        "Unsupported value: 'temperature' does not support 0.", code="unsupported_value", param="temperature"
    )
    server.react = lambda one: (
        Reaction(400, refusal) if one.body.get("temperature") == 0 else Reaction(body=chat("yes"))
    )
    runner.job_folder.set("generation.temperature", 1.0)
    runner.run("Prepare", "Generate")
    found = figures(runner).endpoint
    assert found is not None
    assert (found.answers, found.sampled) == (16, 16)


@pytest.mark.parametrize(
    "text", ["<think>\nno, or yes?\n</think>\n\nyes", "no, or yes?\n</think>\n\nyes", "[THINK]no?[/THINK]yes"]
)
def test_reasoning_in_the_text_of_a_reply_is_no_part_of_the_answer(
    text: str, runner: StageRunner, server: EndpointServer
) -> None:
    server.react = lambda received: Reaction(body=chat(text))
    runner.run("Prepare", "Generate")
    store, keys = runner.job_folder.store, runner.job_folder.keys()
    answered = list(read_answer_set(store, "judge", keys["judge"], "test"))
    assert {turn.text for one in answered for turn in one.answer.turns} == {"yes"}
    assert runner.run("Curate").summary.kept == 40


def test_a_wrong_key_ends_the_job_at_once_and_is_shown_nowhere(
    runner: StageRunner, server: EndpointServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.react = lambda received: Reaction(401, body=problem(f"Incorrect API key provided: {KEY}"))
    with pytest.raises(BadCredentials) as refused:
        runner.run("Prepare", "Generate")
    assert refused.value.at == "spec.teachers[0].endpoint"
    assert len(server.received) <= 16, "no storm of retries"
    texts = [repr(refused.value), str(refused.value), caplog.text, repr(runner.said)]
    files = [path.read_bytes().decode(errors="replace") for path in runner.job_folder.root.rglob("*") if path.is_file()]
    assert not [text for text in (*texts, *files) if KEY in text]


def test_without_a_key_the_vendors_own_address_is_not_asked(
    runner: StageRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("KUBEDISTILL_KEY_MAIN", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    runner.job_folder.set("teachers.0", {"name": "main", "endpoint": {"model": "large"}})
    with pytest.raises(BadCredentials) as refused:
        runner.run("Prepare", "Generate")
    assert "KUBEDISTILL_KEY_MAIN" in refused.value.fix


@pytest.mark.parametrize(
    ("field", "value", "at"),
    [
        ("training.objective.type", "CachedLogits", "spec.training.objective.type"),
        ("generation.topLogprobs", 8, "spec.generation.topLogprobs"),
    ],
)
def test_distributions_of_an_endpoint_are_refused(
    field: str, value: Any, at: str, runner: StageRunner, server: EndpointServer
) -> None:
    runner.job_folder.set(field, value)
    with pytest.raises(InvalidInput) as refused:
        runner.run("Prepare")
    assert refused.value.at == at


# Distributions


def tokens_of(text: str, *, ids: list[int], end: int | None, as_ids: bool) -> dict[str, Any]:
    """Return a completion with log-probabilities, as vLLM gives them with ids or a vendor with bytes."""

    def token(one: int, logprob: float) -> dict[str, Any]:
        spelled = list(text.encode()) if one == ids[0] else list(b"?")
        return {"token": f"token_id:{one}", "logprob": logprob, "bytes": None if as_ids else spelled}

    content = [token(one, -0.25) | {"top_logprobs": [token(one, -0.25), token(6, -3.0)]} for one in ids]
    if as_ids and end is not None:
        ids = [*ids, end]
        content.append(token(end, -0.5) | {"top_logprobs": [token(end, -0.5)]})
    body = chat(text)
    body["choices"][0] |= {"logprobs": {"content": content}, **({"token_ids": ids} if as_ids else {})}
    return body


@pytest.fixture
def with_tokens(runner: StageRunner, server: EndpointServer) -> EndpointServer:
    """Return the endpoint, whose tokenizer is named, and which gives ids as vLLM does."""
    runner.job_folder.set("teachers.0.endpoint.tokenizer", str(QUICKSTART / "student"))
    ids = runner.chat.tokenizer.encode("yes", add_special_tokens=False)

    def react(received: Received) -> Reaction:
        messages = [Message(one["role"], one["content"]) for one in received.body["messages"]]
        body = tokens_of("yes", ids=ids, end=runner.chat.end_id, as_ids=True)
        return Reaction(body=body | {"prompt_token_ids": runner.chat.prompt_ids(messages)})

    server.react = react
    return server


def test_ids_and_distributions_of_an_endpoint_are_learned_as_those_of_a_served_teacher(
    runner: StageRunner, with_tokens: EndpointServer
) -> None:
    runner.run("Prepare", "Generate")
    choices = runner.job_folder.resolve()
    assert (choices.objective, choices.form, choices.k) == ("CachedLogits", "Generated", 20)
    assert {one.body["top_logprobs"] for one in with_tokens.received} == {20}
    store, keys = runner.job_folder.store, runner.job_folder.keys()
    for one in read_answer_set(store, "judge", keys["judge"], "test"):
        (turn,) = one.answer.turns
        assert list(turn.prompt_ids) == runner.chat.prompt_ids(one.record.messages)
        assert turn.completion_ids[-1] == runner.chat.end_id
        assert turn.top is not None
        assert turn.top.ids_TK.shape == (len(turn.completion_ids), 20)
    curated = runner.run("Curate").summary
    assert (curated.kept, curated.samples, curated.without_logprobs) == (40, 40, 0)


def test_tokens_that_can_never_be_read_end_the_job(runner: StageRunner, with_tokens: EndpointServer) -> None:
    with_tokens.react = lambda received: Reaction(body=chat("yes"))
    with pytest.raises(InvalidInput) as refused:
        runner.run("Prepare", "Generate")
    assert refused.value.at == "spec.teachers[0].endpoint.tokenizer"
    assert "16: it has no log-probabilities" in refused.value.problem
    assert 16 <= len(with_tokens.received) < 56, "the others are not paid for"


def test_replies_without_tokens_are_text_and_are_counted(
    runner: StageRunner, with_tokens: EndpointServer, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = with_tokens.react
    with_tokens.react = lambda one: Reaction(body=chat("yes")) if one.prompt.endswith("7") else tokens(one)
    runner.run("Prepare", "Generate")
    warnings = [one.getMessage() for one in caplog.records if "only the text" in one.getMessage()]
    assert all(one.endswith(": it has no log-probabilities)") for one in warnings)
    counts = [int(one.partition("(")[2].partition(":")[0]) for one in warnings]
    assert sum(counts) > len(counts), "one line with a count for each batch, and not one for each reply"
    curated = runner.run("Curate").summary
    assert (curated.kept, curated.without_logprobs) == (40, 4)


@pytest.mark.parametrize(
    ("field", "value", "at"),
    [
        ("generation.topLogprobs", 21, "spec.generation.topLogprobs"),
        ("teachers.0.endpoint.tokenizer", "nowhere", "spec.teachers[0].endpoint.tokenizer"),
    ],
)
def test_a_setting_that_no_endpoint_has_is_refused_before_the_spend(
    field: str, value: Any, at: str, runner: StageRunner, with_tokens: EndpointServer
) -> None:
    runner.job_folder.set(field, value)
    with pytest.raises(InvalidInput) as refused:
        runner.run("Prepare")
    assert refused.value.at == at
    assert with_tokens.received == []


def test_without_alternatives_only_text_is_asked_for(runner: StageRunner, with_tokens: EndpointServer) -> None:
    runner.job_folder.set("generation.topLogprobs", 0)
    runner.run("Prepare", "Generate")
    assert runner.job_folder.resolve().objective == "Sequence"
    assert not [one for one in with_tokens.received if "logprobs" in one.body]


def test_too_few_answers_end_the_job_after_a_probe(runner: StageRunner, server: EndpointServer) -> None:
    server.react = lambda received: Reaction(body=chat(None, finish="content_filter"))
    with pytest.raises(LowYield) as low:
        runner.run("Prepare", "Generate")
    assert len(server.received) == 16, "no other prompt is paid"
    assert "16 Filtered" in low.value.problem
