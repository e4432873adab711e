"""How fast teachers answer compared with vLLM alone, two replicas with one, and the asynchronous engine with the other.

All sides have the same prompts, the same arguments of the engine and one thread, and generate 64 tokens for each of
2,000 prompts. vLLM alone gets the prompts as ids, in one call of `LLM.generate`; ours makes them, and stores the
answers. The start of each engine is left out. The models are the quickstart's teacher (2.56 million parameters) and a
Llama of 40 million parameters with random weights and a vocabulary of 32,000. `make bench-generate` takes about 50
minutes; `quickstart` or `llama` as the argument measures one of them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from quietness import probe

ROOT = Path(__file__).parents[1]

import ray
from ray.cluster_utils import Cluster

from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving.arguments import engine_arguments
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.serving.vllm_requests import sampling_parameters
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.batches import answer_rows
from kubedistill_runtime.teachers.cache import AnswerCache, make_rows
from kubedistill_runtime.teachers.conversation import Generator

QUICKSTART = ROOT / "examples" / "quickstart"
PROMPTS, TOKENS, K, LENGTH, LANES = 2000, 64, 32, 128, 8
ROUNDS = {"quickstart": 5, "llama": 2}
"""Pairs of runs; a run of the quickstart's teacher takes half a minute, one of the Llama three minutes."""
LEAST = {"vsVllm": 0.95, "vsVllmLogprobs": 0.92}
_RECORDS = [Record(f"r{place}", (Message("user", f"The app stopped {place} times"),)) for place in range(PROMPTS)]


def main() -> int:
    if sys.argv[1:2] == ["alone"]:
        answer_alone(Path(sys.argv[2]), k=int(sys.argv[3]))
        return 0
    figures: dict[str, object] = {"probeSeconds": round(probe(), 2)}
    with tempfile.TemporaryDirectory() as name:
        models = {"quickstart": QUICKSTART / "teacher", "llama": make_llama(Path(name, "llama"))}
        start_cluster()
        engines = LocalEngines(leftovers=Path(name, "none"), ahead=False)
        for model in sys.argv[1:] or models:
            figures |= {
                f"{figure}.{model}": value
                for figure, value in measure(models[model], engines, rounds=ROUNDS[model]).items()
            }
            print(json.dumps(figures), flush=True)
        engines.close()
    figures["load"] = [round(one, 2) for one in os.getloadavg()]
    print(json.dumps({"figures": figures}))
    least = {figure: LEAST[figure.partition(".")[0]] for figure in figures if figure.partition(".")[0] in LEAST}
    return 0 if all(float(str(figures[figure])) >= one for figure, one in least.items()) else 1


def measure(path: Path, engines: LocalEngines, *, rounds: int) -> dict[str, float | list[float]]:
    """Return the figures of one model: each a median of pairs, whose two sides run one after the other."""
    found: dict[str, float | list[float]] = {}
    for figure, k in (("vsVllm", 0), ("vsVllmLogprobs", K)):
        ratios = [time_alone(path, k=k) / time_ours(path, k=k, engines=engines) for _ in range(rounds)]
        found |= {figure: round(median(ratios), 3), f"{figure}Each": [round(one, 3) for one in ratios]}
    one = time_ours(path, k=0, engines=engines)
    found["asyncVsSync"] = round(one / time_ours(path, k=0, engines=engines, lanes=LANES), 3)
    found["replicasSpeedup"] = round(one / time_ours(path, k=0, engines=engines, replicas=2), 3)
    return found


def time_ours(path: Path, *, k: int, engines: LocalEngines, replicas: int = 1, lanes: int = 1) -> float:
    """Return the seconds from the first prompt to the last stored answer, in a store of its own."""
    serving = replace(serving_of(path, k=k), replicas=replicas, lanes=lanes)
    chat = load_chat_format(serving.model, at="teacher")
    with tempfile.TemporaryDirectory() as folder, engines.open(serving) as engine:
        engine.start()
        cache = AnswerCache(Store(Path(folder)), "g" * 64)
        generator = Generator(engine, chat, sampling_of(k), LENGTH, seed=0)
        started = time.monotonic()
        answer_rows(
            make_rows(_RECORDS, key=cache.key, samples=1),
            cache=cache,
            generator=generator,
            report=lambda _done, _tokens: None,
        )
        return time.monotonic() - started


def time_alone(path: Path, *, k: int) -> float:
    """Return the seconds of vLLM alone, in a process of its own."""
    command = [sys.executable, __file__, "alone", str(path), str(k)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(ran.stdout.splitlines()[-1])


def answer_alone(path: Path, *, k: int) -> None:
    """Print the seconds of one call of LLM.generate."""
    from kubedistill_runtime.serving.vllm_engine import VllmActor

    VllmActor()  # sets the environment that our engines have
    from vllm import LLM

    serving = serving_of(path, k=k)
    chat = load_chat_format(serving.model, at="teacher")
    llm = LLM(**engine_arguments(serving))
    prompts = [{"prompt_token_ids": chat.prompt_ids(record.messages)} for record in _RECORDS]
    settings = [sampling_parameters(sampling_of(k), seed=seed, stop_ids=()) for seed in range(PROMPTS)]
    llm.generate(prompts[:1], settings[:1], use_tqdm=False)  # what is made once
    started = time.monotonic()
    llm.generate(prompts, settings, use_tqdm=False)
    print(time.monotonic() - started)


def serving_of(path: Path, *, k: int) -> Serving:
    return Serving(find(path), max_model_len=LENGTH, k=k)


def sampling_of(k: int) -> Sampling:
    return Sampling(1.0, max_tokens=TOKENS, k=k, ignore_end=True)


def find(path: Path) -> Model:
    return find_model(str(path), trust_remote_code=False, data_root=ROOT, store=None, at="teacher")


def make_llama(folder: Path) -> Path:
    """Save a Llama with random weights and the quickstart's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(QUICKSTART / "teacher", folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.manual_seed(0)
    own = json.loads((folder / "config.json").read_text())
    config = LlamaConfig(
        **{name: own[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
        vocab_size=32_000,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=6,
        max_position_embeddings=LENGTH,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def start_cluster() -> None:
    """Start a Ray cluster of two nodes with one declared GPU each, so that there can be two replicas."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1, num_gpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    ray.init(address=cluster.address, log_to_driver=False)


if __name__ == "__main__":
    sys.exit(main())
