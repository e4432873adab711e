"""The dataset artifact: the kept answers and their records, in parts of limited size.

`answers-<number>.parquet` has the answers of a part, and `records-<number>.jsonl` their records in the same order.
"""

from collections.abc import Iterable, Iterator

from kubedistill.contract.store_names import artifact_folder
from kubedistill_runtime.answers import AnsweredRecord, decode_answers, encode_answers
from kubedistill_runtime.records import decode_records, encode_records
from kubedistill_runtime.storage.store import Store

PART_ROWS = 256
PART_BYTES = 64 * 2**20


def write_dataset(store: Store, folder: str, kept: Iterable[AnsweredRecord]) -> None:
    """Write the kept answers and their records into a folder; with at most one part in memory."""
    for number, part in enumerate(_cut(kept)):
        store.put(f"{folder}/records-{number:06d}.jsonl", encode_records(answered.record for answered in part))
        store.put(f"{folder}/answers-{number:06d}.parquet", encode_answers(answered.answer for answered in part))


def read_dataset(store: Store, key: str) -> Iterator[AnsweredRecord]:
    """Read the dataset part by part; the samples of a record are numbered again from 0."""
    seen: dict[str, int] = {}
    for number in range(len(_parts(store, key)) // 2):
        folder = artifact_folder("dataset", key)
        records = decode_records(store.read(f"{folder}/records-{number:06d}.jsonl"))
        answers = decode_answers(store.read(f"{folder}/answers-{number:06d}.parquet"))
        for record, answer in zip(records, answers, strict=True):
            sample = seen.get(record.id, 0)
            seen[record.id] = sample + 1
            yield AnsweredRecord(record, sample, answer)


def _parts(store: Store, key: str) -> list[str]:
    folder = artifact_folder("dataset", key)
    prefixes = (f"{folder}/answers-", f"{folder}/records-")
    return [name for name in store.names(folder) if name.startswith(prefixes)]


def _cut(kept: Iterable[AnsweredRecord]) -> Iterator[list[AnsweredRecord]]:
    """Yield parts of at most PART_ROWS answers and PART_BYTES; a larger answer becomes a separate part."""
    part: list[AnsweredRecord] = []
    size = 0
    for answered in kept:
        if part and (len(part) == PART_ROWS or size + answered.answer.nbytes > PART_BYTES):
            yield part
            part, size = [], 0
        part.append(answered)
        size += answered.answer.nbytes
    if part:
        yield part
