"""The cache of answers: every answer of every model in this store, in shards by row key.

`rows/<model key>/<sha of row keys>.parquet` has up to 256 answers; a shard is never rewritten.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubedistill.canonical import digest
from kubedistill.errors import StorageUnavailable
from kubedistill_runtime.answers import (
    Answer,
    AnswerTable,
    decode_ends,
    decode_failures,
    encode_answers,
    open_answers,
)
from kubedistill_runtime.records import Record
from kubedistill_runtime.serving.engine import Sampling, Serving
from kubedistill_runtime.storage.store import Store

SHARD_ROWS = 256
SHARD_BYTES = 64 * 2**20  # before compression
CACHE_BYTES = 256 * 2**20
_SCHEMA = 2  # raise it if answers to the same row change


@dataclass(frozen=True, slots=True)
class Row:
    """One answer to generate: a record, the number of the sample, and the key of both for one model."""

    record: Record
    sample: int
    key: str


def model_key(serving: Serving, *, sampling: Sampling, seed: int) -> str:
    """Return the key of a model with its sampling and limits; where and how fast it runs does not matter."""
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
            **sampling.extra_values(),
            **({"template": dict(variables)} if (variables := serving.model.template_variables) else {}),
        }
    )


def make_rows(records: Iterable[Record], *, key: str, samples: int) -> list[Row]:
    """Return the rows of records for a model key; equal prompts have equal row keys."""
    return [
        Row(record, sample, digest([key, [(m.role, m.content) for m in record.messages], sample]))
        for record in records
        for sample in range(samples)
    ]


def shard_name(key: str, answers: Sequence[Answer]) -> str:
    """Return the name of the shard that has exactly the rows of these answers.

    A failure is part of the name, since a later answer to the same rows must not find its name taken.
    """
    failed = [answer.row_key for answer in answers if answer.failed]
    row_keys = [answer.row_key for answer in answers]
    return f"rows/{key}/{digest([row_keys, failed] if failed else row_keys)}.parquet"


def find_answers(store: Store, key: str) -> dict[str, str]:
    """Return the shard of each row key of a model; raises StorageUnavailable if a shard is damaged."""
    return locate_answers(store, _shards_of(store, key))


def find_final(store: Store, key: str) -> dict[str, str]:
    """Return the same without the rows whose endpoint failed, which are asked again."""
    final, _failed = _locate(store, _shards_of(store, key))
    return final


def locate_answers(store: Store, shards: Iterable[str]) -> dict[str, str]:
    """Return the first shard that has each row key, one with an answer before one with a failure of the endpoint.

    Raises StorageUnavailable if a shard is damaged or missing.
    """
    final, failed = _locate(store, shards)
    return failed | final


def _locate(store: Store, shards: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the first shard that has the answer to each row key, and the first that has a failure."""
    final: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in shards:
        with shard_errors(store, name):
            for row_key, has_failed in decode_failures(store.path(name)).items():
                (failed if has_failed else final).setdefault(row_key, name)
    return final, failed


def _shards_of(store: Store, key: str) -> Iterator[str]:
    return (name for name in store.names(f"rows/{key}") if name.endswith(".parquet"))


def find_ended(store: Store, key: str) -> set[str]:
    """Return the row keys of a model whose answer ended by itself; raises StorageUnavailable like find_answers."""
    where, ended = find_answers(store, key), set()
    for name in dict.fromkeys(where.values()):
        with shard_errors(store, name):
            found = decode_ends(store.path(name))
        ended |= {row_key for row_key, has_ended in found.items() if has_ended and where[row_key] == name}
    return ended


@dataclass(slots=True)
class ShardReader:
    """Reads single answers from shards, and keeps the last few shards in memory."""

    store: Store
    where: Mapping[str, str]
    """The shard of each row key."""
    distributions: bool = True
    """Whether log-probabilities are read too."""
    most_bytes: int = CACHE_BYTES
    """Memory for shards; one shard is kept whatever its size."""
    _open: OrderedDict[str, tuple[AnswerTable, dict[str, int]]] = field(default_factory=OrderedDict, init=False)

    def answer(self, row_key: str) -> Answer:
        """Return the answer of a row key; raises StorageUnavailable if its shard is damaged or missing."""
        name = self.where[row_key]
        if name not in self._open:
            self._read(name)
        self._open.move_to_end(name)
        table, places = self._open[name]
        with shard_errors(self.store, name):
            return table.answer(places[row_key])

    def _read(self, name: str) -> None:
        with shard_errors(self.store, name):
            table = open_answers(self.store.read(name), distributions=self.distributions)
        self._open[name] = (table, {key: place for place, key in reversed(list(enumerate(table.row_keys)))})
        while len(self._open) > 1 and sum(held.nbytes for held, _ in self._open.values()) > self.most_bytes:
            self._open.popitem(last=False)


def add_shard(store: Store, key: str, answers: Sequence[Answer]) -> str:
    """Publish answers once, as several shards if one would be too large. Returns the last name."""
    if len(answers) > 1 and sum(answer.nbytes for answer in answers) > SHARD_BYTES:
        half = len(answers) // 2
        add_shard(store, key, answers[:half])
        return add_shard(store, key, answers[half:])
    name = shard_name(key, answers)
    store.put_if_absent(name, encode_answers(answers))
    return name


@contextlib.contextmanager
def shard_errors(store: Store, name: str) -> Iterator[None]:
    """Turn an error into StorageUnavailable, with the name of the shard and how to get its answers again."""
    try:
        yield
    except (OSError, ValueError, TypeError, NotImplementedError) as error:  # errors of parquet for damaged bytes
        what = "missing" if isinstance(error, FileNotFoundError) else f"not a file of answers ({error})"
        fix = "Delete it, artifacts/answers and artifacts/judge, and start again; all other answers are kept"
        raise StorageUnavailable(f"the shard is {what}", at=str(store.path(name)), fix=fix) from error
