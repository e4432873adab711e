"""Both real engines, for one batch at a time and for several: the same replies, and the same behavior when one dies."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psutil
import pytest

from kubedistill.errors import EngineLost, InvalidModel, Stopped
from kubedistill_runtime.chat import load_chat_format, load_stop_ids
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Engine, Sampling, Serving
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.storage.store import Store
from support.job_folder import QUICKSTART

pytestmark = pytest.mark.engine
LANES = {"SyncEngine": 1, "AsyncEngine": 3}
GREEDY = Sampling(max_tokens=8, k=4)
LONG = Sampling(max_tokens=100, ignore_end=True)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Model:
    store = Store(tmp_path_factory.mktemp("models"))
    return find_model("teacher", trust_remote_code=False, data_root=QUICKSTART, store=store, at="teacher")


@pytest.fixture(scope="module")
def prompts(teacher: Model) -> list[list[int]]:
    chat = load_chat_format(teacher, at="teacher")
    return [chat.prompt_ids([Message("user", f"I noticed the double charge {count} times")]) for count in range(12)]


@pytest.fixture(scope="module")
def worked() -> list[tuple[int, int]]:
    """What the engines report of their tokens: the replica and its GPUs, each time."""
    return []


@pytest.fixture(scope="module", params=LANES)
def engine(
    request: pytest.FixtureRequest, engines: LocalEngines, teacher: Model, worked: list[tuple[int, int]]
) -> Iterator[Engine]:
    serving = Serving(teacher, max_model_len=128, k=4, stop_ids=load_stop_ids(teacher), lanes=LANES[request.param])
    with engines.open(serving, worked=lambda *event: worked.append(event)) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(engines: LocalEngines, teacher: Model, prompts: list[list[int]]) -> list[tuple[int, ...]]:
    """The ids of greedy replies, each asked alone."""
    with engines.open(Serving(teacher, max_model_len=128, k=4, stop_ids=load_stop_ids(teacher))) as alone:
        return [alone.generate([prompt], sampling=GREEDY, seeds=[0])[0].ids for prompt in prompts]


def ids_of(engine: Engine, prompts: list[list[int]]) -> list[tuple[int, ...]]:
    return [one.ids for one in engine.generate(prompts, sampling=GREEDY, seeds=[0] * len(prompts))]


def test_replies_are_in_the_order_of_the_prompts(
    expected: list[tuple[int, ...]], engine: Engine, prompts: list[list[int]]
) -> None:
    assert ids_of(engine, prompts) == expected
    assert ids_of(engine, prompts[::-1]) == expected[::-1]


def test_only_one_batch_at_a_time_repeats(engine: Engine) -> None:
    assert engine.repeats == (engine.lanes == 1)


def test_a_drawn_reply_belongs_to_its_seed(engine: Engine, prompts: list[list[int]]) -> None:
    sampling, seeds = Sampling(1.5, max_tokens=8), list(range(len(prompts)))
    first, again, other = (
        [one.ids for one in engine.generate(prompts, sampling=sampling, seeds=drawn)]
        for drawn in (seeds, seeds, [seed + 100 for seed in seeds])
    )
    assert first == again
    assert first != other


def test_more_batches_than_lanes_are_all_answered(
    expected: list[tuple[int, ...]], engine: Engine, prompts: list[list[int]]
) -> None:
    batches = [prompts[start : start + 2] for start in range(0, 12, 2)]
    with ThreadPoolExecutor(len(batches)) as pool:
        found = list(pool.map(lambda batch: ids_of(engine, batch), batches))
    assert [ids for batch in found for ids in batch] == expected


def test_a_batch_is_watched_and_can_be_stopped(
    expected: list[tuple[int, ...]], engine: Engine, prompts: list[list[int]], worked: list[tuple[int, int]]
) -> None:
    seen: list[tuple[int, int]] = []

    def watch(replies: int, tokens: int) -> None:
        seen.append((replies, tokens))
        if worked:  # on a busy machine, the first token may take a while
            raise Stopped("asked to")

    many = prompts * 60
    engine.start()
    worked.clear()
    with pytest.raises(Stopped):
        engine.generate(many, sampling=LONG, seeds=[0] * len(many), watch=watch)
    assert worked == [(0, 1)]
    assert seen[-1][0] < len(many), "tokens of replies that have not ended count too"
    assert ids_of(engine, prompts) == expected, "what was given up leaves nothing behind"


def test_a_dead_engine_ends_every_batch_and_another_one_is_started(
    expected: list[tuple[int, ...]], engine: Engine, engines: LocalEngines, prompts: list[list[int]]
) -> None:
    import ray

    actor = psutil.Process(ray.get(engines.actor().process_id.remote()))
    own = [one for one in actor.children(recursive=True) if "EngineCore" in " ".join(one.cmdline())]
    assert len(own) == (engine.lanes > 1)
    assert engine.peak_bytes() > sum(one.memory_info().rss for one in own)
    begun = Barrier(engine.lanes + 1)

    def ask(_: int) -> None:
        waits = True

        def watch(_replies: int, _tokens: int) -> None:
            nonlocal waits
            if waits:
                waits = False
                begun.wait(60)

        engine.generate(prompts * 60, sampling=LONG, seeds=[0] * 720, watch=watch)

    with ThreadPoolExecutor(engine.lanes) as pool:
        asked = [pool.submit(ask, number) for number in range(engine.lanes)]
        begun.wait(60)
        (own or [actor])[0].kill()
        for one in asked:
            with pytest.raises(EngineLost):
                one.result(120)
    assert ids_of(engine, prompts) == expected


def test_a_killed_actor_leaves_no_process_behind(engine: Engine, engines: LocalEngines) -> None:
    """Else it would hold the memory of the GPUs that the next engine needs."""
    import ray

    engine.start()
    actor = psutil.Process(ray.get(engines.actor().process_id.remote()))
    started = actor.children(recursive=True)
    actor.kill()
    _, alive = psutil.wait_procs(started, timeout=30)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


def test_an_engine_that_fails_at_its_first_token_refuses_the_model_with_the_cause(
    engine: Engine, engines: LocalEngines, tmp_path: Path
) -> None:
    folder = save_with_head_size_20(tmp_path / "model")
    model = find_model(str(folder), trust_remote_code=False, data_root=folder, store=Store(tmp_path), at="student")
    serving = Serving(model, max_model_len=128, lanes=engine.lanes, at="student")
    with engines.open(serving) as refused, pytest.raises(InvalidModel) as caught:
        refused.start()
    assert "Unsupported CPU attention configuration: head_dim=20" in caught.value.problem
    engine.start()  # the process lives, and its next engine starts


def save_with_head_size_20(folder: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(QUICKSTART / "student", folder)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=60,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=20,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
