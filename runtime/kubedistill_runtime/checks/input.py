"""The input of a job: its data files as the splits of a run, with each reason for leaving a record out counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kubedistill.contract import StageJob
from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.checks.data import DataFile, read_records
from kubedistill_runtime.checks.gates import check_references
from kubedistill_runtime.checks.selection import check_train_references
from kubedistill_runtime.checks.splits import check_sizes, drop_duplicates, hold_out, sample
from kubedistill_runtime.choices import data_path, data_sources, find_data
from kubedistill_runtime.curation.leaks import Leak, find_equal, find_leaks
from kubedistill_runtime.records import SPLITS, Record, Split, arrange
from kubedistill_runtime.tasks import TASKS

Counts = dict[Split, int]
_Guarded = Literal["train", "validation"]
_SHOWN = 80


@dataclass(slots=True)
class Input:
    """What a job is about, as far as its data says."""

    splits: dict[Split, list[Record]]
    places: dict[Split, str]
    """Field and file of each split, for messages."""
    read: Counts
    held_out: list[Split] = field(default_factory=list)
    dropped: dict[str, Counts] = field(default_factory=dict)
    """Records left out, by reason and split."""
    notes: list[str] = field(default_factory=list)
    """What a person should know, and what changes nothing."""

    def drop(self, reason: str, split: Split, count: int) -> None:
        """Count records that are left out."""
        if count:
            counts = self.dropped.setdefault(reason, {})
            counts[split] = counts.get(split, 0) + count


def read_split(job: StageJob, split: Split) -> DataFile:
    """Read one data file; raises InvalidData, naming file and line, for all that is wrong with it."""
    task = job.spec.task
    return read_records(
        find_data(job, split),
        split=split,
        task=TASKS[task.type],
        labels=task.answer_labels,
        system_prompt=task.system_prompt,
    )


def assemble(job: StageJob, files: dict[Split, DataFile]) -> Input:
    """Make the splits out of the files: hold out what has no file, and leave out what counts twice or leaks.

    Raises InvalidData where all training or validation records leak.
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
    """Refuse input with too little to learn from or to judge by; raises InvalidData or InvalidManifest."""
    check_sizes(found.splits, dropped=found.dropped, places=found.places)
    _check_given(job, found.splits, places=found.places)
    check_references(job.spec, judged=count_judged(found.splits["test"], spec=job.spec))
    check_train_references(job.spec, found.splits["train"])


def sample_test(splits: Mapping[Split, Sequence[Record]], *, spec: Spec) -> dict[Split, Sequence[Record]]:
    """Return the splits with those test records alone that the students are asked."""
    return {**splits, "test": sample(splits["test"], limit=spec.evaluation.sample_limit)}


def count_judged(test: Sequence[Record], *, spec: Spec) -> int:
    """Return the number of test records that are judged and have a reference."""
    return sum(bool(record.references) for record in sample(test, limit=spec.evaluation.sample_limit))


def describe_judged(test: Sequence[Record], *, spec: Spec) -> list[str]:
    """Return what a person should know where some of the judged test records have no reference."""
    total, judged = len(sample(test, limit=spec.evaluation.sample_limit)), count_judged(test, spec=spec)
    if not 0 < judged < total:
        return []
    return [f"{judged} of {total} test records that are judged have a reference; accuracy is that of those"]


def place_of(job: StageJob, split: Split) -> str:
    """Return the field and the file of a split; a split without a file is held out from train."""
    if split not in data_sources(job.spec):
        return f"{place_of(job, 'train')} (held out for {split})"
    at = f"spec.data.{split}"
    return f"{at}: {data_path(data_sources(job.spec)[split], job=job, at=at)}"


def _check_given(job: StageJob, splits: dict[Split, list[Record]], *, places: dict[Split, str]) -> None:
    """Refuse given answers that are not given; raises InvalidManifest."""
    if job.spec.data.train.answers != "Given":
        return
    without = [record.id for record in splits["train"] if not record.references]
    if without:
        raise InvalidManifest(
            f"answers are Given, and {len(without)} records have no reference and no assistant turn to learn at the "
            f"end, {without[0]!r} first",
            at=places["train"],
            fix="Add the references, or use answers: Teacher",
        )
    if not any(record.references for record in splits["validation"]):
        raise InvalidManifest(
            "answers are Given, and no validation record has a reference",
            at=places["validation"],
            fix="Add references, or leave data.validation out to hold records out of train",
        )


def _hold_out(found: Input, *, seed: int) -> None:
    """Hold out of train what has no file of its own."""
    found.held_out = [split for split in SPLITS if split not in found.splits]
    for split in found.held_out:
        found.splits["train"], found.splits[split] = hold_out(found.splits["train"], seed=seed, salt=split)


def _drop_duplicates(found: Input, *, labels: Sequence[str]) -> None:
    """Judge each prompt once: a prompt that stands twice would count twice in every test of significance."""
    for split in ("validation", "test"):
        found.splits[split], dropped = drop_duplicates(found.splits[split], labels=labels)
        for reason, count in dropped.items():
            found.drop(reason, split, count)


def _find_test_leaks(found: Input) -> dict[_Guarded, dict[str, Leak]]:
    """What each split leaks of the test data; boilerplate is what the prompts of both together share."""
    splits: tuple[_Guarded, ...] = ("validation", "train")
    together = [replace(one, id=f"{split}/{one.id}") for split in splits for one in found.splits[split]]
    leaks = find_leaks(together, found.splits["test"])
    return {
        split: {one.id: leaks[name] for one in found.splits[split] if (name := f"{split}/{one.id}") in leaks}
        for split in splits
    }


def _drop_leaks(found: Input, split: _Guarded, *, of: Literal["validation", "test"], leaks: Mapping[str, Leak]) -> None:
    """Leave out the records of a split that leak another one; raises InvalidData where all of them do."""
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
            f"each of the {len(leaks)} {prompts} is in the {of} data too: {example}",
            at=found.places[other],
            fix=f"Name other records, or leave data.{other} out to hold records out of train",
        )
    shared = "share words with test prompts" if of == "test" else "are validation prompts too"
    found.notes.append(f"{len(leaks)} of {len(leaks) + len(kept)} {prompts} {shared} and are left out: {example}")
    found.splits[split] = kept


def _words(leak: Leak) -> str:
    return leak.shared if len(leak.shared) <= _SHOWN else f"{leak.shared[:_SHOWN]}…"
