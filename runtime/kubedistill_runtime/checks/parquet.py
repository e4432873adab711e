"""Parquet files as records: the rows of a table become the JSON objects that a file of lines would have."""

import datetime
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from kubedistill.errors import InvalidData
from kubedistill.json_values import Json

MAGIC = b"PAR1"
_BATCH_ROWS = 1024
_Value: TypeAlias = "Json | bytes | Decimal | datetime.date | datetime.time | list[_Value] | dict[str, _Value]"
"""A value as Arrow gives it to Python."""


def locate_row(path: Path, number: int) -> str:
    """Return the place of a row for messages; rows are counted from 1."""
    return f"{path}: row {number}"


def read_rows(path: Path) -> Iterator[tuple[int, Json | InvalidData]]:
    """Yield the number of each row, counted from 1, and its object, or the problem with it.

    A null field of a row or of a struct is absent. Dates, times and decimals are strings. Raises InvalidData for a
    damaged file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # Nothing is read ahead or in threads: a thread of Arrow's that is alive when Python ends aborts the process.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    try:
                        yield number, _as_json(row, at=locate_row(path, number))
                    except InvalidData as problem:
                        yield number, problem
    except (OSError, ValueError, pa.ArrowException) as error:  # all that Arrow raises for damaged bytes
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InvalidData(
            f"the Parquet file is damaged ({first})", at=str(path), fix="Copy or write it again"
        ) from error


def _as_json(value: _Value, *, at: str) -> Json:
    """Return a value of Arrow as JSON; raises InvalidData for one that JSON does not have."""
    if isinstance(value, dict):
        return {str(name): _as_json(part, at=at) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_as_json(part, at=at) for part in value]
    if isinstance(value, float) and math.isnan(value):  # pandas writes it for a missing value
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise InvalidData(f"the row has a value of type {type(value).__name__}", at=at, fix="Remove that column")
