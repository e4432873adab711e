"""The library: every answer that a model ever gave to this store, in shards by row key.

`rows/<model key>/<sha of row keys>.parquet` holds up to 256 answers; a shard is never rewritten.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubedistill.canonical import digest
from kubedistill.errors import StorageUnavailable
from kubedistill_runtime.answers import Answer, decode_answers, decode_row_keys, encode_answers
from kubedistill_runtime.records import Record
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.storage.store import Store

SHARD_ROWS = 256
SHARD_BYTES = 64 * 2**20
_SCHEMA = 2  # raise it when the same row would be answered differently


@dataclass(frozen=True, slots=True)
class Row:
    """One answer to be had: a record, which of its samples, and the key of both under one model."""

    record: Record
    sample: int
    key: str


def model_key(serving: Serving, *, sampling: Sampling, seed: int) -> str:
    """The key of a model as it is asked here: its files, its sampling, its limits; not where or how fast it runs."""
    return digest(
        {
            "schema": _SCHEMA,
            "model": serving.model.digest,
            "maxModelLen": serving.max_model_len,
            "dtype": serving.dtype,
            "quantization": serving.quantization,
            "sampling": [sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.k],
            "seed": seed if sampling.temperature > 0 else None,
            "date": serving.date.isoformat() if serving.date else None,
        }
    )


def make_rows(records: Iterable[Record], *, key: str, samples: int) -> list[Row]:
    """The rows of records under a model key; equal prompts have equal rows."""
    return [
        Row(record, sample, digest([key, [(m.role, m.content) for m in record.messages], sample]))
        for record in records
        for sample in range(samples)
    ]


def shard_name(key: str, rows: Sequence[Row]) -> str:
    """The name of the shard that holds exactly these rows."""
    return f"rows/{key}/{digest([row.key for row in rows])}.parquet"


def find_answers(store: Store, key: str) -> dict[str, str]:
    """The shard that holds each row key of a model; raises StorageUnavailable at one that is damaged."""
    found: dict[str, str] = {}
    for name in store.names(f"rows/{key}"):
        if name.endswith(".parquet"):
            with _shard_errors(store, name):
                for row_key in decode_row_keys(store.read(name)):
                    found.setdefault(row_key, name)
    return found


def read_shards(store: Store, names: Iterable[str]) -> dict[str, Answer]:
    """The answers of some shards, by row key; the first shard that holds a key counts.

    Raises StorageUnavailable at a shard that is damaged or gone.
    """
    answers: dict[str, Answer] = {}
    for name in names:
        with _shard_errors(store, name):
            for answer in decode_answers(store.read(name)):
                answers.setdefault(answer.row_key, answer)
    return answers


def add_shard(store: Store, key: str, rows: Sequence[Row], answers: Sequence[Answer]) -> str:
    """Publish the answers to some rows, once; two shards where one would be too large. Returns the last name."""
    data = encode_answers(answers)
    if len(data) > SHARD_BYTES and len(rows) > 1:
        half = len(rows) // 2
        add_shard(store, key, rows[:half], answers[:half])
        return add_shard(store, key, rows[half:], answers[half:])
    name = shard_name(key, rows)
    store.put_if_absent(name, data)
    return name


@contextlib.contextmanager
def _shard_errors(store: Store, name: str) -> Iterator[None]:
    """Name a shard that can't be read, and the way to have its answers again."""
    try:
        yield
    except (OSError, ValueError, TypeError, NotImplementedError) as error:  # all that parquet says of damaged bytes
        what = "gone" if isinstance(error, FileNotFoundError) else f"no file of answers ({error})"
        fix = "Delete it, artifacts/answers and artifacts/judge, and start again; all other answers are kept"
        raise StorageUnavailable(f"the shard is {what}", at=str(store.path(name)), fix=fix) from error
