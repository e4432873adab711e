"""The client against real servers: vLLM's own routes of OpenAI's and Anthropic's API, with the quickstart's teacher."""

import asyncio
import json
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from kubedistill.errors import BadCredentials, InvalidInput, InvalidModel
from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.checkpoints import find_tokenizer
from kubedistill_runtime.endpoints.client import Client, open_client
from kubedistill_runtime.endpoints.endpoint import Endpoint
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Constraint, Sampling
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.batches import collect_answers
from kubedistill_runtime.teachers.cache import AnswerCache, Row
from kubedistill_runtime.teachers.endpoint_batches import EndpointGenerator, answer_rows
from kubedistill_runtime.teachers.tokens import TokenReader, Tokens, make_reader
from kubedistill_runtime.teachers.usage import Usage, read_usage
from support.background import Background
from support.endpoint_calls import KEY, act_on
from support.endpoint_driver import KEY as MODEL_KEY
from support.endpoint_driver import rows_to_answer
from support.job_folder import QUICKSTART

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]
PATIENCE_SECONDS = 600
APIS = ("OpenAI", "Anthropic")
ASKED = (Message("user", "Where is my parcel?"),)
GREEDY = Sampling(temperature=0.0, max_tokens=12)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_API_KEY": KEY}


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start vLLM's server, and return its URL."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    command = [
        *("env", *(f"{name}={value}" for name, value in ENVIRONMENT.items())),
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)),
        *("--model", str(QUICKSTART / "teacher"), "--served-model-name", "teacher", "--dtype", "float32"),
        *("--enforce-eager", "--max-model-len", "96"),
    ]
    server = Background(tmp_path_factory.mktemp("vllm"), "vllm")
    server.start(command, dies_with_us=True)
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_SECONDS
    while not is_ready(url):
        if server.pid is None or time.monotonic() > until:
            raise server.failure("is not ready")
        time.sleep(0.5)
    yield url
    server.stop(gently=True)


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def endpoint_of(url: str, api: Any, **changes: Any) -> Endpoint:
    endpoint = Endpoint(api, "teacher", f"{url}/v1" if api == "OpenAI" else url, at="spec.teachers[0].endpoint")
    return replace(endpoint, **changes)


def ask(endpoint: Endpoint, *messages: Message, sampling: Sampling = GREEDY, seed: int = 1) -> Any:
    async def act(client: Client) -> Any:
        return await client.ask(messages or ASKED, sampling=sampling, seed=seed)

    return act_on(endpoint, act)


@pytest.mark.parametrize("api", APIS)
def test_a_reply_has_text_usage_and_the_models_name(api: str, vllm: str) -> None:
    reply = ask(endpoint_of(vllm, api))
    assert (reply.finish in ("stop", "length"), reply.model, reply.requests) == (True, "teacher", 1)
    assert reply.text.strip()
    assert reply.prompt_tokens > 4
    assert 1 <= reply.completion_tokens <= 12


def test_both_routes_give_the_same_greedy_reply(vllm: str) -> None:
    first, second = (ask(endpoint_of(vllm, api)) for api in APIS)
    assert (first.text, first.prompt_tokens) == (second.text, second.prompt_tokens)


@pytest.mark.parametrize("api", APIS)
def test_a_reply_that_reaches_the_limit_is_cut_off(api: str, vllm: str) -> None:
    reply = ask(endpoint_of(vllm, api), sampling=replace(GREEDY, max_tokens=1))
    assert (reply.finish, reply.completion_tokens) == ("length", 1)


def test_a_seed_determines_a_drawn_reply(vllm: str) -> None:
    drawn = Sampling(temperature=1.0, max_tokens=24)
    texts = [ask(endpoint_of(vllm, "OpenAI"), sampling=drawn, seed=seed).text for seed in (1, 1, 2, 3, 4)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


@pytest.mark.parametrize("api", APIS)
def test_a_prompt_that_is_too_long_ends_its_row(api: str, vllm: str) -> None:
    reply = ask(endpoint_of(vllm, api), Message("user", "Where is my parcel? " * 60))
    assert reply.finish == "too_long", reply.detail


@pytest.mark.parametrize("api", APIS)
def test_a_model_that_the_server_does_not_have_ends_the_job(api: str, vllm: str) -> None:
    with pytest.raises(InvalidModel, match="other"):
        ask(endpoint_of(vllm, api, model="other"))


def test_a_wrong_key_ends_the_job(vllm: str) -> None:
    async def run() -> None:
        async with open_client(endpoint_of(vllm, "OpenAI"), key="sk-wrong") as client:
            await client.ask(ASKED, sampling=GREEDY, seed=1)

    with pytest.raises(BadCredentials, match="401"):
        asyncio.run(run())


def test_a_reply_is_forced_into_a_json_schema(vllm: str) -> None:
    """The teacher knows only labels. An object would not do: this small model writes its spaces without an end."""
    texts = ["parcel lost", "parcel late"]
    free, forced = (
        ask(endpoint_of(vllm, "OpenAI"), sampling=Sampling(max_tokens=40, constraint=constraint))
        for constraint in (None, Constraint(json_schema=json.dumps({"enum": texts})))
    )
    assert free.text not in map(json.dumps, texts)
    assert (json.loads(forced.text) in texts, forced.finish) == (True, "stop")


# Distributions


def read_tokens(url: str, *, k: int = 20, drawn: float = 0.0) -> tuple[Tokens, str]:
    """Return the tokens of a reply, read with the teacher's own tokenizer, and its text."""
    sampling = Sampling(temperature=drawn, max_tokens=40, k=k)
    reply = ask(endpoint_of(url, "OpenAI"), sampling=sampling)
    assert reply.finish == "stop"
    return open_reader(k=k).read(reply, history=ASKED), reply.text


def open_reader(*, k: int) -> TokenReader:
    tokenizer = find_tokenizer("teacher", data_root=QUICKSTART, store=None, at="")
    return make_reader(tokenizer, chat=load_chat_format(tokenizer, at=""), k=k)


@pytest.mark.parametrize("drawn", [0.0, 1.0])
def test_the_distributions_are_those_of_the_model(drawn: float, vllm: str) -> None:
    found, text = read_tokens(vllm, drawn=drawn)
    chat, ids = open_reader(k=20).chat, list(found.completion_ids)
    assert list(found.prompt_ids) == chat.prompt_ids(ASKED)
    assert (chat.text(ids), ids[-1] in chat.stop_ids) == (text, True)
    model = AutoModelForCausalLM.from_pretrained(QUICKSTART / "teacher", dtype=torch.float32)
    with torch.no_grad():
        logits_LV = model(torch.tensor([[*found.prompt_ids, *ids]])).logits[0]
    logprobs_TV = torch.log_softmax(logits_LV[len(found.prompt_ids) - 1 : -1].double(), dim=-1).numpy()
    assert found.logprobs_T == pytest.approx(logprobs_TV[range(len(ids)), ids], abs=2e-3)
    expected_TK = np.take_along_axis(logprobs_TV, found.top.ids_TK.astype(np.int64), axis=1)
    assert np.exp(found.top.logprobs_TK.astype(float)) == pytest.approx(np.exp(expected_TK), abs=2e-3)
    assert found.top.tail_T == pytest.approx(1 - np.exp(expected_TK).sum(axis=1), abs=2e-3)
    assert found.top.ids_TK[:, 0].tolist() == logprobs_TV.argmax(axis=1).tolist()


def test_more_alternatives_than_the_server_allows_end_the_job(vllm: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_tokens(vllm, k=21)
    assert "logprobs" in refused.value.problem
    assert "tokenizer" in refused.value.fix


def answer_all(rows: Sequence[Row], *, store: Store, generator: EndpointGenerator) -> Usage:
    cache = AnswerCache(store, MODEL_KEY)
    silent: dict[str, Any] = {"report": lambda _done, _tokens: None, "charge": lambda _usage: None}
    return answer_rows(rows, cache=cache, generator=generator, **silent)


def test_rows_are_stored_with_their_distributions(vllm: str, tmp_path: Path) -> None:
    store, rows = Store(tmp_path / "store"), rows_to_answer(21)
    sampling = Sampling(temperature=1.0, max_tokens=40, k=4)
    generator = EndpointGenerator(endpoint_of(vllm, "OpenAI"), KEY, sampling, seed=3, tokens=open_reader(k=4))
    answer_all(rows, store=store, generator=generator)
    for one in collect_answers(rows, cache=AnswerCache(store, MODEL_KEY)):
        for turn in one.answer.turns:
            assert turn.finish == "length" or turn.completion_ids, turn.text
            assert turn.top is None or turn.top.ids_TK.shape == (len(turn.completion_ids), 4)


def test_rows_are_answered_and_their_usage_is_stored(vllm: str, tmp_path: Path) -> None:
    store, rows = Store(tmp_path / "store"), rows_to_answer(21)
    generator = EndpointGenerator(endpoint_of(vllm, "OpenAI"), KEY, Sampling(temperature=1.0, max_tokens=8), seed=3)
    usage = answer_all(rows, store=store, generator=generator)
    answered = list(collect_answers(rows, cache=AnswerCache(store, MODEL_KEY)))
    assert len(answered) == 21
    assert {model for model, _ in usage.models} == {"teacher"}
    assert usage.completion_tokens > 0
    assert read_usage(rows, cache=AnswerCache(store, MODEL_KEY)) == usage
