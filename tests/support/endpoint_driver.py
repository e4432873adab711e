"""A driver that answers rows at an endpoint, to be killed: `python -m support.endpoint_driver STORE URL COUNT`.

The key is in the environment, as in a pod.
"""

import logging
import os
import sys
from pathlib import Path

from kubedistill_runtime.endpoints.endpoint import Endpoint
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.cache import AnswerCache, Row, make_rows
from kubedistill_runtime.teachers.endpoint_batches import EndpointGenerator, answer_rows

KEY = "e" * 64
VARIABLE = "TEACHER_API_KEY"
IN_FLIGHT = 8


def rows_to_answer(count: int) -> list[Row]:
    """Return rows of short records; each tenth has two turns."""
    records = []
    for number in range(count):
        texts = (f"record {number}", f"and {number}?") if number % 10 == 0 else (f"record {number}",)
        records.append(Record(f"r{number}", tuple(Message("user", text) for text in texts)))
    return make_rows(records, key=KEY, samples=1)


def generator_for(url: str, *, api_key: str, **settings: float) -> EndpointGenerator:
    """Return the generator of a test's server, with short budgets."""
    limits = {"timeout_seconds": 20.0, "retry_seconds": 20.0} | settings
    endpoint = Endpoint("OpenAI", "teacher", f"{url}/v1", max_in_flight=IN_FLIGHT, **limits)
    return EndpointGenerator(endpoint, api_key, Sampling(temperature=1.0, max_tokens=32), seed=3)


def main() -> None:
    """Answer all rows."""
    folder, url, count = sys.argv[1:]
    logging.basicConfig(level=logging.DEBUG)
    generator = generator_for(url, api_key=os.environ[VARIABLE])
    logging.info("%r", generator)
    answer_rows(
        rows_to_answer(int(count)),
        cache=AnswerCache(Store(Path(folder)), KEY),
        generator=generator,
        report=lambda done, tokens: logging.info("%d rows, %d tokens", done, tokens),
        charge=lambda _usage: None,
    )


if __name__ == "__main__":
    main()
