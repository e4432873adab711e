"""Write the records of the quickstart's job: data/train.jsonl, data/validation.jsonl and data/test.jsonl."""

from pathlib import Path

from generator.fragments import Pool
from generator.records import write_records

DATA = Path(__file__).parent / "data"
JOB_SEED, TEST_SEED = 12, 2027
TRAIN_ROWS, VALIDATION_ROWS, TEST_ROWS = 1_200, 300, 1_000


def main(folder: Path = DATA) -> None:
    folder.mkdir(exist_ok=True)
    write_records(folder / "train.jsonl", pool=Pool.JOB, seed=JOB_SEED, rows=TRAIN_ROWS)
    write_records(folder / "validation.jsonl", pool=Pool.JOB, seed=JOB_SEED, rows=VALIDATION_ROWS, skip=TRAIN_ROWS)
    write_records(folder / "test.jsonl", pool=Pool.TEST, seed=TEST_SEED, rows=TEST_ROWS)


if __name__ == "__main__":
    main()
