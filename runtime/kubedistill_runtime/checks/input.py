"""The input of a job: its data files as the splits of a run, with counts of the dropped records by reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kubedistill.contract import StageJob
from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.checks.data import DataFile, read_records
from kubedistill_runtime.checks.gates import check_references
from kubedistill_runtime.checks.routing import check_routes
from kubedistill_runtime.checks.selection import check_train_references
from kubedistill_runtime.checks.splits import check_sizes, drop_duplicates, hold_out, sample
from kubedistill_runtime.checks.task import check_task
from kubedistill_runtime.curation.leaks import Leak, find_equal, find_leaks
from kubedistill_runtime.data_files import data_path, data_sources, find_data
from kubedistill_runtime.datasets import parse_hub_uri
from kubedistill_runtime.records import SPLITS, Record, Split, arrange
from kubedistill_runtime.redaction import redact_records

Counts = dict[Split, int]
_Guarded = Literal["train", "validation"]
_SHOWN = 80


@dataclass(slots=True)
class Input:
    """The data of a job."""

    splits: dict[Split, list[Record]]
    places: dict[Split, str]
    """Field and file of each split, for messages."""
    read: Counts
    held_out: list[Split] = field(default_factory=list)
    dropped: dict[str, Counts] = field(default_factory=dict)
    """Records left out, by reason and split."""
    notes: list[str] = field(default_factory=list)
    """Information for a person, without effect."""

    def drop(self, reason: str, split: Split, count: int) -> None:
        """Count dropped records."""
        if count:
            counts = self.dropped.setdefault(reason, {})
            counts[split] = counts.get(split, 0) + count


def read_split(job: StageJob, split: Split, *, fetch: bool = True, redact: bool = True) -> DataFile:
    """Read one data file and redact it; without `fetch`, it is not downloaded, and without `redact`, no code runs.

    Raises InvalidData, with file and line, for all its problems, and the errors of check_task, find_data and
    redact_records.
    """
    check_task(job.spec.task)
    path = find_data(job, split, fetch=fetch)
    file = read_records(path, split=split, task=job.spec.task, answers=job.spec.data.train.answers)
    if not redact:
        return file
    records, notes = redact_records(file.records, job=job)
    return DataFile(records, (*file.notes, *notes))


def assemble(job: StageJob, files: dict[Split, DataFile]) -> Input:
    """Make the splits from the files: hold out splits without a file, and drop duplicates and leaks.

    Raises InvalidData if all training or validation records leak.
    """
    answers = job.spec.data.train.answers
    splits = {split: [arrange(one, answers=answers) for one in file.records] for split, file in files.items()}
    found = Input(
        splits=splits,
        places={split: place_of(job, split) for split in SPLITS},
        read={split: len(records) for split, records in splits.items()},
        notes=[f"{split}: {note}" for split, file in files.items() for note in file.notes],
    )
    _hold_out(found, seed=job.spec.generation.seed)
    _drop_duplicates(found, labels=job.spec.task.answer_labels)
    for split, leaks in _find_test_leaks(found).items():
        _drop_leaks(found, split, of="test", leaks=leaks)
    _drop_leaks(found, "train", of="validation", leaks=find_equal(found.splits["train"], found.splits["validation"]))
    return found


def check_enough(job: StageJob, found: Input) -> None:
    """Check that there are enough records, references and teachers; raises InvalidData or InvalidManifest."""
    check_sizes(found.splits, dropped=found.dropped, places=found.places)
    _check_given(job, found.splits, places=found.places)
    found.notes += check_routes(job.spec, found.splits, places=found.places)
    check_references(job.spec, judged=count_judged(found.splits["test"], spec=job.spec))
    check_train_references(job.spec, found.splits["train"])


def sample_test(splits: Mapping[Split, Sequence[Record]], *, spec: Spec) -> dict[Split, Sequence[Record]]:
    """Return the splits with only those test records that the students are evaluated on."""
    return {**splits, "test": sample(splits["test"], limit=spec.evaluation.sample_limit)}


def count_judged(test: Sequence[Record], *, spec: Spec) -> int:
    """Return the number of evaluated test records that have a reference."""
    return sum(bool(record.references) for record in sample(test, limit=spec.evaluation.sample_limit))


def describe_judged(test: Sequence[Record], *, spec: Spec) -> list[str]:
    """Return a note if some of the evaluated test records have no reference."""
    total, judged = len(sample(test, limit=spec.evaluation.sample_limit)), count_judged(test, spec=spec)
    if not 0 < judged < total:
        return []
    return [f"{judged} of {total} evaluated test records have a reference; accuracy refers to those"]


def place_of(job: StageJob, split: Split) -> str:
    """Return the field and the file of a split; a split without a file is held out from train."""
    if split not in data_sources(job.spec):
        return f"{place_of(job, 'train')} (held out for {split})"
    at, source = f"spec.data.{split}", data_sources(job.spec)[split]
    if parse_hub_uri(source.uri, at=at) is not None:
        return f"{at}: {source.uri}"
    return f"{at}: {data_path(source, job=job, at=at)}"


def _check_given(job: StageJob, splits: dict[Split, list[Record]], *, places: dict[Split, str]) -> None:
    """Check that given answers exist; raises InvalidManifest."""
    if job.spec.data.train.answers != "Given":
        return
    without = [record.id for record in splits["train"] if not record.references]
    if without:
        raise InvalidManifest(
            f"answers are Given, but {len(without)} records have neither a reference nor a final assistant turn to "
            f"learn, the first one being {without[0]!r}",
            at=places["train"],
            fix="Add references, or set answers: Teacher",
        )
    if not any(record.references for record in splits["validation"]):
        raise InvalidManifest(
            "answers are Given, but no validation record has a reference",
            at=places["validation"],
            fix="Add references, or remove data.validation to hold out records of train",
        )


def _hold_out(found: Input, *, seed: int) -> None:
    """Hold out records of train for splits without a file."""
    found.held_out = [split for split in SPLITS if split not in found.splits]
    for split in found.held_out:
        found.splits["train"], found.splits[split] = hold_out(found.splits["train"], seed=seed, salt=split)


def _drop_duplicates(found: Input, *, labels: Sequence[str]) -> None:
    """Drop duplicate prompts of validation and test, which would count twice in a test of significance."""
    for split in ("validation", "test"):
        found.splits[split], dropped = drop_duplicates(found.splits[split], labels=labels)
        for reason, count in dropped.items():
            found.drop(reason, split, count)


def _find_test_leaks(found: Input) -> dict[_Guarded, dict[str, Leak]]:
    """Return the leaks of test data in each split; both splits together determine what is boilerplate."""
    splits: tuple[_Guarded, ...] = ("validation", "train")
    together = [replace(one, id=f"{split}/{one.id}") for split in splits for one in found.splits[split]]
    leaks = find_leaks(together, found.splits["test"])
    return {
        split: {one.id: leaks[name] for one in found.splits[split] if (name := f"{split}/{one.id}") in leaks}
        for split in splits
    }


def _drop_leaks(found: Input, split: _Guarded, *, of: Literal["validation", "test"], leaks: Mapping[str, Leak]) -> None:
    """Drop the records of a split that leak another one; raises InvalidData if all of them do."""
    if not leaks:
        return
    prompts = "training prompts" if split == "train" else "validation prompts"
    kept = [record for record in found.splits[split] if record.id not in leaks]
    found.drop("Leaked", split, len(leaks))
    record, leak = next(iter(leaks.items()))
    example = f"{_words(leak)!r} is in {record!r} and in {leak.test!r}"
    if not kept:
        other = of if split == "train" else split
        raise InvalidData(
            f"each of the {len(leaks)} {prompts} is also in the {of} data: {example}",
            at=found.places[other],
            fix=f"Use other records, or remove data.{other} to hold out records of train",
        )
    shared = "share words with test prompts" if of == "test" else "are also validation prompts"
    found.notes.append(f"{len(leaks)} of {len(leaks) + len(kept)} {prompts} {shared} and are dropped: {example}")
    found.splits[split] = kept


def _words(leak: Leak) -> str:
    return leak.shared if len(leak.shared) <= _SHOWN else f"{leak.shared[:_SHOWN]}…"
