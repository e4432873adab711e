"""The cache of answers: every answer of every model in this store, in shards by row key.

`rows/<model key>/<sha of row keys>.parquet` has up to 256 answers; a shard is never rewritten.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kubedistill.canonical import digest
from kubedistill.errors import StorageUnavailable
from kubedistill_runtime.answers import (
    Answer,
    AnswerState,
    AnswerTable,
    decode_states,
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


class _Place(NamedTuple):
    """Where an answer is; the least of several counts, so an answer counts before a failure of the endpoint."""

    failed: bool
    shard: str
    ended: bool


@dataclass(slots=True)
class AnswerCache:
    """The answers of one model; each shard is opened once to find the rows that it has.

    Every method that finds answers also finds those that another driver has added meanwhile, and raises
    StorageUnavailable if a shard is damaged.
    """

    store: Store
    key: str
    """The key of the model."""
    _places: dict[str, _Place] = field(default_factory=dict, init=False)
    _scanned: set[str] = field(default_factory=set, init=False)

    def find_answers(self) -> dict[str, str]:
        """Return the shard of each row key."""
        self._scan_new()
        return {row_key: place.shard for row_key, place in self._places.items()}

    def find_final(self) -> dict[str, str]:
        """Return the same without the rows whose endpoint failed, which are asked again."""
        self._scan_new()
        return {row_key: place.shard for row_key, place in self._places.items() if not place.failed}

    def find_ended(self) -> set[str]:
        """Return the row keys whose answer ended by itself."""
        self._scan_new()
        return {row_key for row_key, place in self._places.items() if place.ended}

    def add(self, answers: Sequence[Answer]) -> str:
        """Publish answers once, as several shards if one would be too large. Returns the last name."""
        if len(answers) > 1 and sum(answer.nbytes for answer in answers) > SHARD_BYTES:
            half = len(answers) // 2
            self.add(answers[:half])
            return self.add(answers[half:])
        name = shard_name(self.key, answers)
        if self.store.put_if_absent(name, encode_answers(answers)):
            states = {one.row_key: AnswerState(one.ended, one.failed) for one in reversed(answers)}
            self._note(name, states)
        return name

    def _scan_new(self) -> None:
        for name in self.store.names(f"rows/{self.key}"):
            if name.endswith(".parquet") and name not in self._scanned:
                self._note(name, _scan(self.store, name))

    def _note(self, name: str, states: Mapping[str, AnswerState]) -> None:
        self._scanned.add(name)
        _add_places(self._places, name, states)


def locate_answers(store: Store, shards: Iterable[str]) -> dict[str, str]:
    """Return the first shard that has each row key, one with an answer before one with a failure of the endpoint.

    Raises StorageUnavailable if a shard is damaged or missing.
    """
    places: dict[str, _Place] = {}
    for name in shards:
        _add_places(places, name, _scan(store, name))
    return {row_key: place.shard for row_key, place in places.items()}


def _scan(store: Store, name: str) -> dict[str, AnswerState]:
    with shard_errors(store, name):
        return decode_states(store.path(name))


def _add_places(places: dict[str, _Place], name: str, states: Mapping[str, AnswerState]) -> None:
    kinds = {state: _Place(state.failed, name, state.ended) for state in set(states.values())}
    for row_key, state in states.items():
        place = kinds[state]
        places[row_key] = min(places.get(row_key, place), place)


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


@contextlib.contextmanager
def shard_errors(store: Store, name: str) -> Iterator[None]:
    """Turn an error into StorageUnavailable, with the name of the shard and how to get its answers again."""
    try:
        yield
    except (OSError, ValueError, TypeError, NotImplementedError) as error:  # errors of parquet for damaged bytes
        what = "missing" if isinstance(error, FileNotFoundError) else f"not a file of answers ({error})"
        fix = "Delete it, artifacts/answers and artifacts/judge, and start again; all other answers are kept"
        raise StorageUnavailable(f"the shard is {what}", at=str(store.path(name)), fix=fix) from error
