"""The dataset artifact: the answers that were kept, beside their records."""

from collections.abc import Sequence

from kubedistill_runtime.answers import Answered, decode_answers, encode_answers
from kubedistill_runtime.records import decode_records, encode_records
from kubedistill_runtime.storage.artifacts import folder_of
from kubedistill_runtime.storage.store import Store


def write_dataset(store: Store, key: str, kept: Sequence[Answered]) -> None:
    """Write the kept answers and, line for line, their records."""
    folder = folder_of("dataset", key)
    store.put(f"{folder}/records.jsonl", encode_records(answered.record for answered in kept))
    store.put(f"{folder}/train.parquet", encode_answers(answered.answer for answered in kept))


def read_dataset(store: Store, key: str) -> list[Answered]:
    """Read what write_dataset wrote; the samples of a record are counted anew."""
    folder = folder_of("dataset", key)
    records = decode_records(store.read(f"{folder}/records.jsonl"))
    answers = decode_answers(store.read(f"{folder}/train.parquet"))
    seen: dict[str, int] = {}
    dataset = []
    for record, answer in zip(records, answers, strict=True):
        sample = seen.get(record.id, 0)
        seen[record.id] = sample + 1
        dataset.append(Answered(record, sample, answer))
    return dataset
