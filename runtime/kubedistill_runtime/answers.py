"""Answers: what a model said to records, with the token ids and logprobs it said it with.

Shapes: T generated tokens of a turn, K alternatives stored per token.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kubedistill_runtime.records import Record


@dataclass(frozen=True, slots=True)
class TopK:
    """The teacher's distribution at each generated token: its K most likely ids, and the mass of all others."""

    ids_TK: NDArray[np.int32]
    logprobs_TK: NDArray[np.float16]
    tail_T: NDArray[np.float32]
    """Mass outside the K ids, 0 to 1, measured before the logprobs were rounded."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply: the prompt it answers, as ids, and the reply, as ids and text (without the stop token's text)."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    text: str
    finish: str
    """stop: the model ended by itself, and completion_ids ends with its stop token. length: it was cut off."""
    top: TopK | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """All replies of a model to one record (one turn, but for conversations)."""

    row_key: str
    """sha256 of all that determines this answer; the same for the same prompt anywhere."""
    turns: tuple[Turn, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Answered:
    """A record with one of its answers; sample counts the answers to one record from 0."""

    record: Record
    sample: int
    answer: Answer


_TURN = pa.struct(
    [
        ("prompt_ids", pa.list_(pa.int32())),
        ("completion_ids", pa.list_(pa.int32())),
        ("text", pa.string()),
        ("finish", pa.string()),
        ("k", pa.int32()),
        ("top_ids", pa.binary()),
        ("top_logprobs", pa.binary()),
        ("tail", pa.binary()),
    ]
)
SCHEMA = pa.schema([("row_key", pa.string()), ("turns", pa.list_(_TURN))])


def encode_answers(answers: Iterable[Answer]) -> bytes:
    """Encode answers as one parquet file; equal answers give equal bytes."""
    rows = [{"row_key": answer.row_key, "turns": [_turn_values(turn) for turn in answer.turns]} for answer in answers]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def decode_answers(data: bytes) -> list[Answer]:
    """Decode what encode_answers wrote; raises ValueError or OSError where it is anything else."""
    rows = _read(data).to_pylist()
    return [Answer(row["row_key"], tuple(_turn(values) for values in row["turns"])) for row in rows]


def decode_row_keys(data: bytes) -> list[str]:
    """The row keys of what encode_answers wrote, without the answers; raises as decode_answers does."""
    keys: list[str] = _read(data, columns=["row_key"]).column("row_key").to_pylist()
    return keys


def _read(data: bytes, *, columns: list[str] | None = None) -> pa.Table:
    # Nothing is read ahead or in threads: one of Arrow's that still holds `data` when Python ends aborts the process.
    file = pq.ParquetFile(io.BytesIO(data), pre_buffer=False)
    if not file.schema_arrow.equals(SCHEMA):
        raise ValueError("its columns are not those of answers")
    return file.read(columns, use_threads=False)


def _turn_values(turn: Turn) -> dict[str, Any]:
    values: dict[str, Any] = {
        "prompt_ids": turn.prompt_ids,
        "completion_ids": turn.completion_ids,
        "text": turn.text,
        "finish": turn.finish,
        "k": 0,
    }
    if turn.top is not None:
        values |= {
            "k": turn.top.ids_TK.shape[1],
            "top_ids": turn.top.ids_TK.astype("<i4").tobytes(),
            "top_logprobs": turn.top.logprobs_TK.astype("<f2").tobytes(),
            "tail": turn.top.tail_T.astype("<f4").tobytes(),
        }
    return values


def _turn(values: dict[str, Any]) -> Turn:
    top = None
    if values["k"]:
        shape = (len(values["completion_ids"]), values["k"])
        top = TopK(
            np.frombuffer(values["top_ids"], "<i4").reshape(shape),
            np.frombuffer(values["top_logprobs"], "<f2").reshape(shape),
            np.frombuffer(values["tail"], "<f4"),
        )
    return Turn(tuple(values["prompt_ids"]), tuple(values["completion_ids"]), values["text"], values["finish"], top)
