"""Answer sets: the part of a manifest that lists the answers of a split, and how to read them."""

from collections.abc import Iterator, Sequence

from kubedistill.chain import ArtifactName
from kubedistill.contract.artifacts import AnswersFigures, AnswerSplit
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.records import Split, read_rows
from kubedistill_runtime.storage.artifacts import read_figures
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.cache import Row, ShardReader, find_answers, locate_answers


def describe_answers(rows: Sequence[Row], *, key: str, ended: int, store: Store) -> AnswerSplit:
    """Return a split's part of a manifest; `ended` is the number of answers that ended by themselves."""
    known = find_answers(store, key)
    return AnswerSplit(
        rows=[(row.record.id, row.sample, row.key) for row in rows],
        shards=list(dict.fromkeys(known[row.key] for row in rows)),
        asked=len(rows),
        ended=ended,
    )


def read_answer_set(
    store: Store, name: ArtifactName, key: str, split: Split, *, distributions: bool = True
) -> Iterator[AnsweredRecord]:
    """Read the answers of a split, in the order of its records, optionally without log-probabilities."""
    figures = read_figures(store, name, key, AnswersFigures)
    part = figures.splits[split]
    records = {record.id: record for record in read_rows(store, figures.rows_key, split)}
    shards = ShardReader(store, where=locate_answers(store, part.shards), distributions=distributions)
    return (AnsweredRecord(records[record], sample, shards.answer(row_key)) for record, sample, row_key in part.rows)
