"""Answer sets: the part of a manifest that lists the answers of a split, and how to read them."""

from collections import Counter
from collections.abc import Iterator, Mapping

from kubedistill.chain import ArtifactName
from kubedistill.contract.artifacts import AnswersFigures, AnswerSplit
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.records import Split, read_rows
from kubedistill_runtime.storage.artifacts import read_figures
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.cache import ShardReader, locate_answers
from kubedistill_runtime.teachers.requests import Pending, Request


def describe_answers(parts: Mapping[str, Pending], request: Request, *, spec: Spec) -> AnswerSplit:
    """Return a split's part of a manifest: the answers to a request, which are rows of each teacher, by its name."""
    shards: dict[str, str] = {}
    for part in parts.values():
        shards |= part.cache.find_answers()
    places = {record.id: place for place, record in enumerate(request.records)}
    answered = [(name, row) for name, part in parts.items() for row in part.rows]
    answered.sort(key=lambda one: places[one[1].record.id])  # stable, so a record's teachers keep their order
    numbers, rows = Counter[str](), []
    for _, row in answered:
        rows.append((row.record.id, numbers[row.record.id], row.key))
        numbers[row.record.id] += 1
    return AnswerSplit(
        rows=rows,
        shards=list(dict.fromkeys(shards[row.key] for _, row in answered)),
        asked=len(rows),
        ended=sum(part.count_ended() for part in parts.values()),
        teachers=[name for name, _ in answered] if len(spec.teachers) > 1 else [],
    )


def read_answer_set(
    store: Store, name: ArtifactName, key: str, split: Split, *, distributions: bool = True
) -> Iterator[AnsweredRecord]:
    """Read the answers of a split, in the order of its records, optionally without log-probabilities."""
    figures = read_figures(store, name, key, AnswersFigures)
    part = figures.splits[split]
    records = {record.id: record for record in read_rows(store, figures.rows_key, split)}
    shards = ShardReader(store, where=locate_answers(store, part.shards), distributions=distributions)
    teachers = part.teachers or [""] * len(part.rows)
    return (
        AnsweredRecord(records[record], sample, shards.answer(row_key), teacher)
        for (record, sample, row_key), teacher in zip(part.rows, teachers, strict=True)
    )
