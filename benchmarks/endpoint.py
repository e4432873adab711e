"""How close a teacher's endpoint is driven to its limit of requests at a time, and in what memory.

A server in a process of its own answers each request after 0.2 s. The ideal is its latency times the requests, divided
by the requests at a time: nothing can be faster. Answers are stored as in a job. Memory is measured on 100,000 rows
that an endpoint in the same process answers at once.

With faults, the last rows wait as long as the server asks them to, when nothing else is left to do. Of 2,000 requests
that decides much of the result, so 10,000 are measured too, without a claim.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import psutil
from quietness import probe

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from kubedistill_runtime.endpoints.adapters import ADAPTERS
from kubedistill_runtime.endpoints.endpoint import Endpoint, Reply
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.cache import AnswerCache, Row, make_rows
from kubedistill_runtime.teachers.endpoint_batches import EndpointGenerator, answer_rows
from kubedistill_runtime.teachers.usage import Usage
from support.endpoint_server import EndpointServer, Reaction, Received, chat, problem

LATENCY, IN_FLIGHT, SEED = 0.2, 64, 7
RUNS = {"endpointVsIdeal": ("none", 2_000), "underFaults": ("faults", 2_000), "underFaultsLong": ("faults", 10_000)}
"""By figure: the server's faults, and the number of requests."""
MANY, EARLY, SAMPLE_SECONDS = 100_000, 20_000, 0.02
LEAST = {"endpointVsIdeal": 0.9, "underFaults": 0.75}
MOST_GROWTH_MIB = 32.0
KEY = "b" * 64


def main() -> int:
    if sys.argv[1:2] == ["serve"]:
        serve(faults=sys.argv[2] == "faults")
        return 0
    figures: dict[str, float | list[float]] = {"probeSeconds": round(probe(), 2)}
    for name, (faults, requests) in RUNS.items():
        seconds, cpu, usage = measure_speed(faults, requests=requests)
        ideal = requests * LATENCY / IN_FLIGHT
        figures[name] = round(ideal / seconds, 3)
        print(f"{name}: {seconds:.2f} s of {ideal:.2f} s, {usage.retries} retries, {cpu:.2f} s of CPU time")
    figures["memoryGrowthMiB"] = round(measure_growth(), 1)
    figures["load"] = [round(one, 2) for one in os.getloadavg()]
    print(json.dumps({"figures": figures}))
    fast = all(figures[name] >= least for name, least in LEAST.items())
    return 0 if fast and figures["memoryGrowthMiB"] <= MOST_GROWTH_MIB else 1


def measure_speed(faults: str, *, requests: int) -> tuple[float, float, Usage]:
    """Return the seconds for all requests, those of this process's CPU time, and the usage."""
    with server(faults) as url, tempfile.TemporaryDirectory() as folder:
        endpoint = Endpoint("OpenAI", "teacher", url, max_in_flight=IN_FLIGHT)
        answer(rows_of(IN_FLIGHT, name="first"), endpoint=endpoint, folder=folder)  # what is made once
        started, before = time.monotonic(), time.process_time()
        usage = answer(rows_of(requests, name="row"), endpoint=endpoint, folder=folder)
        return time.monotonic() - started, time.process_time() - before, usage


def measure_growth() -> float:
    """Return by how many MiB this process grew between 20,000 and 100,000 answers, as most of any moment."""
    early = late = done = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal early, late
        while not ended.wait(SAMPLE_SECONDS):  # more often than progress is reported: memory falls after each shard
            size = psutil.Process().memory_info().rss
            early, late = (max(early, size), late) if done <= EARLY else (early, max(late, size))

    def report(answered: int, _tokens: int) -> None:
        nonlocal done
        done = answered

    ADAPTERS["OpenAI"] = open_instant
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = Endpoint("OpenAI", "teacher", "http://127.0.0.1")  # no request is sent
        answer(rows_of(MANY, name="row"), endpoint=endpoint, folder=folder, report=report)
    ended.set()
    watcher.join()
    return (late - early) / 2**20


def answer(rows, *, endpoint, folder, report=lambda _done, _tokens: None) -> Usage:
    generator = EndpointGenerator(endpoint, "key", Sampling(max_tokens=64), SEED)
    cache = AnswerCache(Store(Path(folder)), KEY)
    return answer_rows(rows, cache=cache, generator=generator, report=report, charge=lambda _usage: None)


def rows_of(count: int, *, name: str) -> list[Row]:
    records = [Record(f"{name}{n}", (Message("user", f"{name} {n}: {'word ' * 40}"),)) for n in range(count)]
    return make_rows(records, key=KEY, samples=1)


class Instant:
    """An adapter that answers at once."""

    async def ask(self, messages: Sequence[Message], *, sampling: Sampling, seed: int) -> Reply:
        del messages, sampling
        await asyncio.sleep(0)
        return Reply(f"answer {seed} " * 20, "stop", "teacher-1", "fp_1", 50, 60)


@contextlib.asynccontextmanager
async def open_instant(endpoint: Endpoint, *, key: str) -> AsyncIterator[Instant]:
    del endpoint, key
    yield Instant()


# The server


@contextlib.contextmanager
def server(faults: str) -> Iterator[str]:
    """Run this program as the server, and yield its URL."""
    command = [sys.executable, str(Path(__file__).resolve()), "serve", faults]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"{process.stdout.readline().strip()}/v1"
    finally:
        process.kill()
        process.communicate()


def serve(*, faults: bool) -> None:
    chance = random.Random(SEED)
    good = Reaction(seconds=LATENCY, body=json.dumps(chat("a reply of some words " * 10)).encode())
    busy, broken = Reaction(429, problem("slow down")), Reaction(500, problem("oops"))
    told = Reaction(429, problem("slow down"), {"retry-after": "1"})  # vendors differ, so half of them say when

    def react(_received: Received) -> Reaction:
        drawn = chance.random() if faults else 1.0
        return told if drawn < 0.05 else busy if drawn < 0.10 else broken if drawn < 0.15 else good

    endpoint = EndpointServer(react, keep=False)
    asyncio.run(endpoint.serve(lambda: print(endpoint.url, flush=True)))


if __name__ == "__main__":
    sys.exit(main())
