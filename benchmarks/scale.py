"""Scale: 40 million tokens with their 32 most likely alternatives through Curate and the reading of Train.

Made-up shards are written into a library, for a few sizes. Curate, and what Train reads in an epoch and a quarter, run
in processes of their own; their CPU time must grow linearly, and their anonymous memory must stay under a bound.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from quietness import probe

from kubedistill.contract import JobRef, RunRef, StageJob
from kubedistill.contract.artifacts import AnswersFigures, Figures
from kubedistill.contract.store_names import artifact_folder
from kubedistill.manifest.loading import load_manifest
from kubedistill.v1alpha1 import spec_values
from kubedistill_runtime.answers import Answer, TopK, Turn
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.records import Message, Record, encode_records
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.storage.artifacts import publish
from kubedistill_runtime.storage.store import Store, open_store
from kubedistill_runtime.teachers.answer_sets import describe_answers
from kubedistill_runtime.teachers.cache import SHARD_ROWS, AnswerCache, Row, make_rows
from kubedistill_runtime.teachers.requests import Pending, Request

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART, FOLDER = ROOT / "examples" / "quickstart", ROOT / "build" / "bench-scale"
SIZES = (2_500_000, 5_000_000, 10_000_000, 40_000_000)
REPLY, PROMPT, K, VOCABULARY = 512, 24, 32, 32_000
MOST_BYTES, MOST_EXPONENT = 3 * 2**30, 1.1
_GIB, _SAMPLING_SECONDS = 2**30, 0.02


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took for its work, without its imports."""

    cpu_seconds: float
    seconds: float
    anonymous_bytes: int
    """Most RssAnon of /proc/self/status, imports included."""
    count: int
    """Answers kept, or samples read."""


def main() -> int:
    """Measure all sizes; returns 1 where a claim does not hold."""
    quiet, costs = probe(), {}
    print(f"{'tokens':>12}  {'stage':8}{'CPU s':>8}{'wall s':>8}{'RssAnon GiB':>13}{'us/token':>10}")
    for tokens in SIZES:
        costs[tokens] = measure_size(tokens, folder=FOLDER)
        for stage, cost in costs[tokens].items():
            micro = cost.cpu_seconds / tokens * 1e6
            print(
                f"{tokens:12,}  {stage:8}{cost.cpu_seconds:8.1f}{cost.seconds:8.1f}"
                f"{cost.anonymous_bytes / _GIB:13.2f}{micro:10.2f}",
                flush=True,
            )
    figures = figures_of(costs)
    load = [round(one, 1) for one in os.getloadavg()]
    print(f"exponents of CPU time: {figures['curateExponent']} and {figures['readExponent']}; load {load}")
    print(json.dumps({"figures": {**figures, "probeRatio": round(probe() / quiet, 2), "load": load}}))
    broken = broken_claims(figures)
    for claim in broken:
        print(f"does not hold: {claim}", file=sys.stderr)
    return 1 if broken else 0


def measure_size(tokens: int, *, folder: Path) -> dict[str, Cost]:
    """Return the cost of each stage for so many tokens; the folder holds up to 20 GB meanwhile, and is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        write_library(tokens, folder=folder)
        return {stage: _measure(stage, folder=folder) for stage in STAGES}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def figures_of(costs: Mapping[int, Mapping[str, Cost]]) -> dict[str, float]:
    """Return exponents over all sizes, and the memory of the largest."""
    largest = costs[max(costs)]
    return {
        "tokens": max(costs),
        "lost": sum(tokens // REPLY - cost["curate"].count for tokens, cost in costs.items()),
        **{
            f"{stage}Exponent": round(fit_exponent({t: c[stage].cpu_seconds for t, c in costs.items()}), 3)
            for stage in STAGES
        },
        **{f"{stage}AnonGiB": round(cost.anonymous_bytes / _GIB, 2) for stage, cost in largest.items()},
        **{f"{stage}CpuSeconds": round(cost.cpu_seconds, 1) for stage, cost in largest.items()},
    }


def fit_exponent(seconds: Mapping[int, float]) -> float:
    """Return the exponent b of seconds = a * tokens ** b, by least squares on logarithms."""
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def broken_claims(figures: Mapping[str, float]) -> list[str]:
    """Return every claim of this benchmark that does not hold."""
    broken = ["every answer is kept"] if figures["lost"] else []
    for stage in STAGES:
        if figures[f"{stage}Exponent"] > MOST_EXPONENT:
            broken.append(f"the cost of {stage} grows with an exponent of at most {MOST_EXPONENT}")
        if figures[f"{stage}AnonGiB"] >= MOST_BYTES / _GIB:
            broken.append(f"{stage} holds less than {MOST_BYTES / _GIB:g} GiB")
    return broken


# What is measured


def write_library(tokens: int, *, folder: Path) -> None:
    """Leave what Prepare and Generate leave: the records, and made-up answers of 512 tokens in the library."""
    job, store = load_job(folder)
    counts = {"train": tokens // REPLY, "validation": SHARD_ROWS, "test": 8}
    records = {split: list(_records(split, count)) for split, count in counts.items()}
    keys = resolve(job, store=store).keys
    for split, some in records.items():
        store.put(f"{artifact_folder('rows', keys['rows'])}/{split}.jsonl", encode_records(some))
    publish(store, "rows", keys["rows"], Figures())
    generator = np.random.default_rng(0)
    for name, split in (("answers", "train"), ("judge", "validation")):
        rows, cache = make_rows(records[split], key=split, samples=1), AnswerCache(store, split)
        for start in range(0, len(rows), SHARD_ROWS):
            shard = rows[start : start + SHARD_ROWS]
            cache.add([_answer(row, generator=generator) for row in shard])
        request = Request(records[split], Sampling(max_tokens=REPLY, k=K))
        part = describe_answers({"main": Pending(rows, cache)}, request, spec=job.spec)
        publish(store, name, keys[name], AnswersFigures(rows_key=keys["rows"], splits={split: part}))


def load_job(folder: Path) -> tuple[StageJob, Store]:
    """Return the quickstart with long replies, and a store in the folder."""
    spec = load_manifest(QUICKSTART / "job.yaml").spec
    task = spec.task.model_copy(update={"type": "Conversation", "labels": None})
    training = spec.training.model_copy(update={"max_length": 1024})
    store = open_store(str(folder / "store"))
    job = StageJob(
        job=JobRef(namespace="default", name="scale"),
        run=RunRef(id="local", digest=""),
        stage="Curate",
        attempt=1,
        token="",
        frozen_spec=spec_values(spec.model_copy(update={"task": task, "training": training})),
        store=store.uri,
        data_root=QUICKSTART.as_uri(),
    )
    return job, store


def _records(split: str, count: int) -> Any:
    return (Record(f"{split}-{place:06d}", (Message("user", f"{split} asks {place}"),)) for place in range(count))


def _answer(row: Row, *, generator: np.random.Generator) -> Answer:
    """Return an answer of random ids, which hardly compress, with distributions that add up to one."""
    logits_TK = np.sort(generator.gumbel(0, 3, (REPLY, K)).astype(np.float32))[:, ::-1]
    logprobs_TK = logits_TK - np.log(np.exp(logits_TK).sum(1, keepdims=True)) + np.float32(np.log(0.95))
    ids_TK = generator.integers(0, VOCABULARY, (REPLY, K), np.int32)
    top = TopK(ids_TK, logprobs_TK.astype(np.float16), np.full(REPLY, 0.05, np.float32))
    prompt = tuple(generator.integers(0, VOCABULARY, PROMPT).tolist())
    text = " ".join(f"word{number}" for number in generator.integers(0, VOCABULARY, REPLY * 3 // 4))
    return Answer(row.key, (Turn(prompt, tuple(ids_TK[:, 0].tolist()), text, "stop", top, logprobs_TK[:, 0].copy()),))


def curate(folder: Path) -> Callable[[], int]:
    """Return the whole stage Curate."""
    from kubedistill_runtime.chat import load_chat_format
    from kubedistill_runtime.progress import Progress
    from kubedistill_runtime.stages import make_artifacts

    job, store = load_job(folder)
    choices = resolve(job, store=store)
    load_chat_format(choices.student, at="student")  # imports are not a cost of the work
    job = job.model_copy(update={"artifacts": choices.keys})
    progress = Progress(lambda _: None)
    return lambda: int(make_artifacts(job, store=store, progress=progress, engines=None).summary.kept)  # type: ignore[arg-type]


def read(folder: Path) -> Callable[[], int]:
    """Return the batches of an epoch and a quarter, in the order and on the one worker of a training."""
    import torch

    from kubedistill_runtime.training.batches import make_batch, order_samples, split_step
    from kubedistill_runtime.training.sample_store import open_samples

    job, store = load_job(folder)
    training, device = job.spec.training, torch.device("cpu")
    samples_folder = artifact_folder("samples", resolve(job, store=store).keys["samples"])

    def work() -> int:
        samples, done = open_samples(store, samples_folder, "train"), 0
        for epoch, share in ((0, 1.0), (1, 0.25)):
            order = order_samples(len(samples), seed=training.seed, epoch=epoch)[: int(share * len(samples))]
            for start in range(0, len(order), training.global_batch_size):
                step = [samples[place] for place in order[start : start + training.global_batch_size]]
                for part in split_step(step, rank=0, world=1, micro=16):
                    batch = make_batch(part, device=device)
                    assert batch.top_ids_NK.shape == (REPLY * len(part), K)
                    done += len(part)
        return done

    return work


STAGES: dict[str, Callable[[Path], Callable[[], int]]] = {"curate": curate, "read": read}


# How it is measured


def _measure(stage: str, *, folder: Path) -> Cost:
    _forget_files(folder)
    command = [sys.executable, __file__, stage, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _forget_files(folder: Path) -> None:
    """Drop the page cache of a folder's files, so that small sizes are read from disk as large ones are."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure_here(stage: str, folder: Path) -> Cost:
    """Do a stage's work in this process and watch it."""
    work = STAGES[stage](folder)
    ended, most = Event(), [_anonymous_bytes()]

    def watch() -> None:
        while not ended.wait(_SAMPLING_SECONDS):
            most[0] = max(most[0], _anonymous_bytes())

    watcher = Thread(target=watch)
    watcher.start()
    cpu, began = time.process_time(), time.monotonic()
    count = work()
    cost = (time.process_time() - cpu, time.monotonic() - began)
    ended.set()
    watcher.join()
    return Cost(*cost, max(most[0], _anonymous_bytes()), count)


def _anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def run(arguments: Sequence[str]) -> int:
    """Measure all sizes without arguments; one stage on a folder with them."""
    if not arguments:
        return main()
    stage, folder = arguments
    print(json.dumps(asdict(measure_here(stage, Path(folder)))))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
