"""Answers: the replies of a model to records, with their token ids and logprobs.

Shapes: T generated tokens of a turn, K alternatives stored per token.
"""

import io
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kubedistill_runtime.records import Record

NO_TOKEN = 2**31 - 1
"""An id beyond every vocabulary, for an entry of a distribution without a token."""


@dataclass(frozen=True, slots=True)
class TopK:
    """The teacher's distribution at each generated token: its K most likely ids, and the mass of all others."""

    ids_TK: NDArray[np.int32]
    logprobs_TK: NDArray[np.float16]
    tail_T: NDArray[np.float32]
    """Mass outside the K ids, 0 to 1, measured before the logprobs were rounded; NaN where nothing is known."""

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.ids_TK.nbytes + self.logprobs_TK.nbytes + self.tail_T.nbytes


_WITHOUT = "asked without "


@dataclass(frozen=True, slots=True)
class TurnUsage:
    """What an endpoint reported about a turn."""

    model: str
    """The model's name as the endpoint states it, and the fingerprint of its backend; empty if it states none."""
    fingerprint: str
    prompt_tokens: int
    completion_tokens: int
    requests: int
    """Requests that were sent for this turn, including those that failed."""
    detail: str = ""
    """The endpoint's own words about a finish other than stop and length, or which parameters were not sent."""

    @property
    def left_out(self) -> frozenset[str]:
        """The parameters that were not sent, since the endpoint refuses them."""
        words, names = self.detail[: len(_WITHOUT)], self.detail[len(_WITHOUT) :]
        return frozenset(names.split(", ")) if words == _WITHOUT else frozenset()


def describe_left_out(names: Collection[str]) -> str:
    """Return the detail of a reply that was asked for without some parameters."""
    return _WITHOUT + ", ".join(sorted(names))


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply: the prompt it answers, as ids, and the reply, as ids and text (without the stop token's text)."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    text: str
    finish: str
    """stop: the model ended by itself, and completion_ids, if known, ends with its stop token. length: it was cut off.

    An endpoint has further ones (`endpoints.endpoint.FINISHES`). It gives ids only if the manifest names its tokenizer.
    """
    top: TopK | None = None
    logprobs_T: NDArray[np.float32] | None = None
    """Log-probability of each generated token in nats, even if it is outside the K; None if not known."""
    usage: TurnUsage | None = None
    """None for a model that the job itself serves."""


FAILED = "failed"
"""The finish of a turn for which no reply arrived, because the endpoint or the network failed repeatedly."""


@dataclass(frozen=True, slots=True)
class Answer:
    """All replies of a model to one record; only conversations have several turns."""

    row_key: str
    """sha256 of everything that determines this answer; the same for the same prompt in any job."""
    turns: tuple[Turn, ...] = field(default=())

    @property
    def nbytes(self) -> int:
        """Size in a file of answers before compression, in bytes."""
        return len(self.row_key) + sum(_turn_bytes(turn) for turn in self.turns)

    @property
    def ended(self) -> bool:
        """Whether the model answered, and ended every turn by itself."""
        return bool(self.turns) and all(turn.finish == "stop" for turn in self.turns)

    @property
    def failed(self) -> bool:
        """Whether the endpoint failed instead of answering, so that another run may get an answer."""
        return any(turn.finish == FAILED for turn in self.turns)


class AnswerState(NamedTuple):
    """How an answer ended, as `Answer` says it."""

    ended: bool
    failed: bool


@dataclass(frozen=True, slots=True)
class AnsweredRecord:
    """A record with one of its answers; sample counts the answers to one record from 0."""

    record: Record
    sample: int
    answer: Answer
    teacher: str = ""
    """Name of the teacher; empty if the job has one."""


_TURN = [
    ("prompt_ids", pa.list_(pa.int32())),
    ("completion_ids", pa.list_(pa.int32())),
    ("text", pa.string()),
    ("finish", pa.string()),
    ("logprobs", pa.binary()),
    ("k", pa.int32()),
    ("top_ids", pa.binary()),
    ("top_logprobs", pa.binary()),
    ("tail", pa.binary()),
]
_USAGE = pa.struct(
    [
        ("model", pa.string()),
        ("fingerprint", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("requests", pa.int32()),
        ("detail", pa.string()),
    ]
)


def _schema(turn: list[tuple[str, pa.DataType]]) -> pa.Schema:
    return pa.schema([("row_key", pa.string()), ("turns", pa.list_(pa.struct(turn)))])


SCHEMA, ENDPOINT_SCHEMA = _schema(_TURN), _schema([*_TURN, ("usage", _USAGE)])
"""Answers of endpoints have one more field, so that the files of served models stay as all versions wrote them."""
_PLAIN = [
    "row_key",
    *(f"turns.list.element.{name}" for name in ("prompt_ids", "completion_ids", "text", "finish", "usage")),
]


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """A file of answers as an Arrow table; each answer is decoded on demand."""

    table: pa.Table

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return int(self.table.nbytes)

    @property
    def row_keys(self) -> list[str]:
        """The row key of each answer."""
        keys: list[str] = self.table.column("row_key").to_pylist()
        return keys

    def answer(self, place: int) -> Answer:
        """Return the answer at a place, counted from 0."""
        (row,) = self.table.slice(place, 1).to_pylist()
        return Answer(row["row_key"], tuple(_turn(values) for values in row["turns"]))


def encode_answers(answers: Iterable[Answer]) -> bytes:
    """Encode answers as one parquet file; equal answers give equal bytes.

    Arrow's offsets have 32 bits, so answers with more than 2 GiB of `nbytes` could not be read again.
    """
    rows = [{"row_key": answer.row_key, "turns": [_turn_values(turn) for turn in answer.turns]} for answer in answers]
    sink = io.BytesIO()
    has_usage = any("usage" in turn for row in rows for turn in row["turns"])
    table = pa.Table.from_pylist(rows, schema=ENDPOINT_SCHEMA if has_usage else SCHEMA)
    # No two distributions are equal, so dictionaries would only double the time to write and read them.
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def open_answers(data: bytes, *, distributions: bool = True) -> AnswerTable:
    """Open a file of encode_answers, optionally without log-probabilities.

    Raises ValueError or OSError if it is anything else.
    """
    return AnswerTable(_read(data, columns=None if distributions else _PLAIN))


def decode_answers(data: bytes) -> list[Answer]:
    """Decode a file of encode_answers; raises the errors of open_answers."""
    table = open_answers(data)
    return [table.answer(place) for place in range(table.table.num_rows)]


def decode_states(source: bytes | Path) -> dict[str, AnswerState]:
    """Read only how each answer ended, by row key; raises the errors of open_answers.

    The first of several answers with one row key counts.
    """
    table = _read(source, columns=["row_key", "turns.list.element.finish"])
    keys, turns = (table.column(name).combine_chunks() for name in ("row_key", "turns"))
    finishes, parents = turns.flatten().field("finish"), pc.list_parent_indices(turns)

    def count(finish: str) -> NDArray[np.int64]:
        return np.bincount(parents.filter(pc.equal(finishes, finish)).to_numpy(), minlength=len(keys))

    lengths = np.bincount(parents.to_numpy(), minlength=len(keys))
    ended = ((lengths > 0) & (count("stop") == lengths)).tolist()
    failed = (count(FAILED) > 0).tolist()
    found = dict[str, AnswerState]()
    for place, row_key in enumerate(keys.to_pylist()):
        found.setdefault(row_key, AnswerState(ended=ended[place], failed=failed[place]))
    return found


def decode_usages(source: bytes | Path) -> Iterator[tuple[str, list[tuple[str, TurnUsage]]]]:
    """Read only finish and usage of each turn that has a usage, by row key; raises the errors of open_answers."""
    turn = "turns.list.element"
    for row in _read(source, columns=["row_key", f"{turn}.finish", f"{turn}.usage"]).to_pylist():
        turns = [(one["finish"], TurnUsage(**one["usage"])) for one in row["turns"] if one.get("usage")]
        yield row["row_key"], turns


def _read(source: bytes | Path, *, columns: list[str] | None = None) -> pa.Table:
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as opened:
        # No prefetching and no threads: an Arrow thread that is alive when Python exits aborts the process.
        file = pq.ParquetFile(opened, pre_buffer=False)
        if not any(file.schema_arrow.equals(schema) for schema in (SCHEMA, ENDPOINT_SCHEMA)):
            raise ValueError("its columns are not those of answers")
        return file.read(columns, use_threads=False)


def _turn_bytes(turn: Turn) -> int:
    """Return the size of a turn before compression; ids and log-probabilities have 4 bytes each."""
    ids = len(turn.prompt_ids) + len(turn.completion_ids) + (0 if turn.logprobs_T is None else len(turn.logprobs_T))
    return 4 * ids + len(turn.text.encode()) + (turn.top.nbytes if turn.top else 0)


def _turn_values(turn: Turn) -> dict[str, Any]:
    values: dict[str, Any] = {
        "prompt_ids": turn.prompt_ids,
        "completion_ids": turn.completion_ids,
        "text": turn.text,
        "finish": turn.finish,
        "k": 0,
    }
    if turn.usage is not None:
        values["usage"] = asdict(turn.usage)
    if turn.logprobs_T is not None:
        values["logprobs"] = turn.logprobs_T.astype("<f4").tobytes()
    if turn.top is not None:
        values |= {
            "k": turn.top.ids_TK.shape[1],
            "top_ids": turn.top.ids_TK.astype("<i4").tobytes(),
            "top_logprobs": turn.top.logprobs_TK.astype("<f2").tobytes(),
            "tail": turn.top.tail_T.astype("<f4").tobytes(),
        }
    return values


def _turn(values: dict[str, Any]) -> Turn:
    top, logprobs = None, values.get("logprobs")
    if values.get("k"):
        shape = (len(values["completion_ids"]), values["k"])
        top = TopK(
            np.frombuffer(values["top_ids"], "<i4").reshape(shape),
            np.frombuffer(values["top_logprobs"], "<f2").reshape(shape),
            np.frombuffer(values["tail"], "<f4"),
        )
    return Turn(
        tuple(values["prompt_ids"]),
        tuple(values["completion_ids"]),
        values["text"],
        values["finish"],
        top,
        None if logprobs is None else np.frombuffer(logprobs, "<f4"),
        TurnUsage(**usage) if (usage := values.get("usage")) else None,
    )
