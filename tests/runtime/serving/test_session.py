"""The real engine: what it reports, what it repeats, and what happens when it dies."""

import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from kubedistill.errors import EngineLost
from kubedistill_runtime.chat import load_chat_format, load_stop_ids
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving import session
from kubedistill_runtime.serving.engine import Completion, Engine, Sampling, Serving
from kubedistill_runtime.serving.figures import Machine, measure
from kubedistill_runtime.serving.processes import reap_leftovers
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.batches import Generator, answer_rows, collect_answers
from kubedistill_runtime.teachers.cache import AnswerCache, make_rows

K = 32
TEXTS = [f"I noticed the double charge {count} times, the wrong total came up" for count in range(12)]


@pytest.fixture
def prompts(teacher: Model) -> list[list[int]]:
    chat = load_chat_format(teacher, at="teacher")
    return [chat.prompt_ids([Message("user", text)]) for text in TEXTS]


@pytest.fixture
def serving(teacher: Model) -> Serving:
    return Serving(teacher, max_model_len=128, k=K, stop_ids=load_stop_ids(teacher))


@pytest.fixture
def engine(engines: LocalEngines, serving: Serving) -> Iterator[Engine]:
    with engines.open(serving) as opened:
        yield opened


def test_stored_logprobs_are_those_of_transformers(engine: Engine, teacher: Model, prompts: list[list[int]]) -> None:
    model = AutoModelForCausalLM.from_pretrained(teacher.path, dtype=torch.float32)
    completions = engine.generate(prompts, sampling=Sampling(max_tokens=8, k=K), seeds=[0] * len(prompts))
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([[*prompt, *completion.ids]])
        with torch.no_grad():
            expected_TV = model(ids).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
        assert completion.top is not None
        chosen_TK = expected_TV.gather(1, torch.tensor(completion.top.ids_TK.tolist()))
        stored_TK = completion.top.logprobs_TK
        half_step_TK = np.spacing(np.abs(stored_TK)).astype(np.float64) / 2  # all that float16 may have changed
        assert (np.abs(stored_TK.astype(np.float64) - chosen_TK.numpy()) <= half_step_TK + 1e-4).all()
        drawn_T = expected_TV.gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
        assert completion.logprobs_T is not None
        np.testing.assert_allclose(completion.logprobs_T, drawn_T.numpy(), atol=1e-4)
        assert np.abs(np.exp(chosen_TK.numpy()).sum(1) + completion.top.tail_T - 1).max() < 1e-4
        assert completion.ids[-1] in load_stop_ids(teacher)
        assert completion.finish == "stop"
        assert completion.ids == tuple(expected_TV.argmax(-1).tolist()), "greedy replies are the most likely ids"


def test_the_drawn_token_has_its_logprob_even_where_it_is_not_among_the_most_likely(
    engine: Engine, prompts: list[list[int]]
) -> None:
    """At temperature 2 many a drawn token is not among the two most likely ones."""
    few, none = (
        engine.generate(prompts, sampling=Sampling(2.0, max_tokens=8, k=k), seeds=list(range(len(prompts))))
        for k in (2, 0)
    )
    outside = 0
    for one, other in zip(few, none, strict=True):
        assert (one.ids, other.top) == (other.ids, None)
        assert one.logprobs_T is not None
        assert other.logprobs_T is not None
        assert one.logprobs_T.dtype == other.logprobs_T.dtype == np.float32
        np.testing.assert_allclose(one.logprobs_T, other.logprobs_T, atol=1e-5)
        for token, logprob, ids_K, logprobs_K in zip(
            one.ids, one.logprobs_T, one.top.ids_TK, one.top.logprobs_TK, strict=True
        ):
            if token in ids_K:
                assert logprob == pytest.approx(float(logprobs_K[ids_K == token][0]), abs=2e-2, rel=1e-3)
            else:
                outside += 1
                assert logprob <= logprobs_K.min() + 2e-2
    assert outside > 0, "the case must be met"


def test_same_seeds_give_the_same_ids(engine: Engine, prompts: list[list[int]]) -> None:
    sampling, seeds = Sampling(temperature=1.5, max_tokens=8, k=K), list(range(len(prompts)))
    first, second = (engine.generate(prompts, sampling=sampling, seeds=seeds) for _ in range(2))
    other = engine.generate(prompts, sampling=sampling, seeds=[seed + 100 for seed in seeds])
    assert [one.ids for one in first] == [one.ids for one in second]
    assert [one.ids for one in first] != [one.ids for one in other]


def test_figures_are_measured(engine: Engine, serving: Serving, prompts: list[list[int]]) -> None:
    import time

    figures = measure(
        engine, prompts, serving=serving, sampling=Sampling(max_tokens=8), machine=Machine("here"), clock=time.monotonic
    )
    assert figures.first_token_seconds is not None
    assert 0 < figures.first_token_seconds <= figures.latency_seconds
    assert 0 < figures.latency_seconds <= figures.latency_p95_seconds
    assert figures.throughput_per_hour > 3600 / figures.latency_seconds, "many at once are served faster"
    assert figures.memory_bytes == serving.model.parameters * 4 + 2 * 6 * 2 * 32 * 128 * 4
    assert figures.peak_memory_bytes > figures.memory_bytes


def test_a_dead_engine_is_started_again_and_the_log_says_when_each_is_ready(
    engines: LocalEngines, serving: Serving, prompts: list[list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    caplog.set_level(logging.INFO, session.__package__)
    sampling, seeds = Sampling(max_tokens=8), [0] * len(prompts)
    with engines.open(serving) as engine:
        before = plain(engine.generate(prompts, sampling=sampling, seeds=seeds))
        psutil.Process(ray.get(engines.actor().process_id.remote())).kill()
        with pytest.raises(EngineLost):
            engine.generate(prompts, sampling=sampling, seeds=seeds)
        assert plain(engine.generate(prompts, sampling=sampling, seeds=seeds)) == before
    said = [record.message for record in caplog.records if record.levelno == logging.INFO]
    started = ["engine starting", "engine ready"]
    assert said[-5:] == [*started, "engine process starting", *started]


def test_a_dead_actor_that_is_asked_for_its_hardware_is_lost_and_started_again(
    engines: LocalEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(session, "has_accelerators", lambda: True)
    before = engines.hardware(gpus=1)
    psutil.Process(ray.get(engines.actor().process_id.remote())).kill()
    with pytest.raises(EngineLost):
        engines.hardware(gpus=1)
    assert engines.hardware(gpus=1) == before


def plain(completions: list[Completion]) -> list[Any]:
    """Return completions without arrays, which don't compare."""
    return [(one.ids, one.finish, one.logprobs_T.tolist()) for one in completions if one.logprobs_T is not None]


class DeadlyRow:
    """An engine that dies of one prompt; the rest of it is real."""

    lanes = 1
    repeats = True

    def __init__(self, engine: Engine, *, deadly: list[int]) -> None:
        self._engine, self._deadly = engine, deadly

    def generate(self, prompts, **options):  # type: ignore[no-untyped-def]
        if self._deadly in [list(prompt) for prompt in prompts]:
            raise EngineLost("died", at="test", fix="none")
        return self._engine.generate(prompts, **options)


def test_a_row_that_kills_the_engine_is_quarantined_alone(
    engine: Engine, teacher: Model, prompts: list[list[int]], tmp_path: Path
) -> None:
    store, chat = Store(tmp_path / "store"), load_chat_format(teacher, at="teacher")
    records = [Record(str(place), (Message("user", text),)) for place, text in enumerate(TEXTS)]
    rows = make_rows(records, key="k", samples=1)
    generator = Generator(DeadlyRow(engine, deadly=prompts[5]), chat, Sampling(max_tokens=8, k=K), 128, seed=0)
    answer_rows(rows, cache=AnswerCache(store, "k"), generator=generator, report=lambda _done, _tokens: None)
    answered = list(collect_answers(rows, cache=AnswerCache(store, "k")))
    assert [one.record.id for one in answered if not one.answer.turns] == ["5"]


def test_a_conversation_hears_the_teachers_own_replies(engine: Engine, teacher: Model, tmp_path: Path) -> None:
    store, chat = Store(tmp_path / "store"), load_chat_format(teacher, at="teacher")
    messages = (Message("user", TEXTS[0]), Message("user", TEXTS[1]))
    rows = make_rows([Record("talk", messages)], key="k", samples=1)
    generator = Generator(engine, chat, Sampling(max_tokens=8, k=K), 128, seed=0)
    answer_rows(rows, cache=AnswerCache(store, "k"), generator=generator, report=lambda _done, _tokens: None)
    (answered,) = collect_answers(rows, cache=AnswerCache(store, "k"))
    first, second = answered.answer.turns
    history = [messages[0], Message("assistant", first.text), messages[1]]
    assert list(second.prompt_ids) == chat.prompt_ids(history)


def test_leftovers_are_reaped_by_the_mark_of_their_session(tmp_path: Path) -> None:
    folder, other = tmp_path / "session", tmp_path / "other"
    folder.mkdir()
    # A process that outlived its parent, as Ray's workers do, is nobody's child any more.
    orphan = "import os, time; os.fork() or time.sleep(60)"
    marks = [{**os.environ, "KUBEDISTILL_SESSION": str(one)} for one in (folder, folder, other)]
    ours, parent, stranger = (
        subprocess.Popen([sys.executable, "-c", script], env=mark)
        for script, mark in zip(
            ("import time; time.sleep(60)", orphan, "import time; time.sleep(60)"), marks, strict=True
        )
    )
    assert parent.wait(timeout=20) == 0
    record = tmp_path / "processes.json"
    record.write_text(json.dumps({"folder": str(folder)}))
    reap_leftovers(record)
    left = marked(str(folder))
    ended, spared = not psutil.pid_exists(ours.pid), stranger.poll() is None
    for process in (ours, stranger):
        process.kill()
        process.wait()
    assert left == []
    assert ended
    assert spared, "another session's process is none of ours"
    assert not folder.exists()
    assert not record.exists()


def marked(folder: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("KUBEDISTILL_SESSION") == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


@pytest.mark.parametrize("torn", ["", "{", '{"folder": "/tm', "[]", "{}"])
def test_a_torn_record_of_leftovers_is_dropped(torn: str, tmp_path: Path) -> None:
    record = tmp_path / "processes.json"
    record.write_text(torn)
    reap_leftovers(record)
    assert not record.exists()
