"""Curate: keep the answers that pass all filters, record why the others do not, and make samples."""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from kubedistill.canonical import canonical_json
from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import AnswersFigures, DatasetFigures, SamplesFigures, SplitSamples, TeacherAnswers
from kubedistill.contract.summaries import CurateSummary
from kubedistill.errors import LowYield
from kubedistill.json_values import JsonObject
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.checks.yields import check_distributions, check_kept
from kubedistill_runtime.curation import balance
from kubedistill_runtime.curation.dataset import read_dataset, write_dataset
from kubedistill_runtime.curation.diversity import Diversity
from kubedistill_runtime.curation.filters import Filter, find_rejection, is_empty, make_filters
from kubedistill_runtime.curation.given import given_answers
from kubedistill_runtime.curation.selection import choose_answers, make_selection
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Record, read_rows
from kubedistill_runtime.stages import Outcome, StageContext
from kubedistill_runtime.storage.artifacts import draft_artifact, find, leave_draft, publish, read_figures
from kubedistill_runtime.student_format import make_rendering
from kubedistill_runtime.tasks.reasoning import for_student, to_target
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from kubedistill_runtime.training.sample_store import write_samples
from kubedistill_runtime.training.samples import Counts, make_samples

_REPORT_EVERY = 256


def run(context: StageContext) -> Outcome:
    """Make the artifacts dataset and samples, unless they are complete.

    Raises LowYield if too few prompts have a kept answer or no answer gives a sample, and InvalidManifest if the
    objective needs distributions and no sample has one.
    """
    store, keys = context.store, context.keys
    if not find(store, "dataset", keys["dataset"]).complete:
        _make_dataset(context)
    dataset = read_figures(store, "dataset", keys["dataset"], DatasetFigures)
    check_kept(dataset, spec=context.job.spec)  # another job's ratio may be lower
    if not find(store, "samples", keys["samples"]).complete:
        _make_samples(context, dataset=dataset)
    samples = read_figures(store, "samples", keys["samples"], SamplesFigures)
    check_distributions(samples, objective=context.choices.objective)
    summary = CurateSummary(**dict(dataset), **dict(samples))
    return Outcome(summary=summary, message=f"{summary.kept:,} of {summary.asked:,} answers kept")


@dataclass(slots=True)
class _Selector:
    """Sorts answers one by one, and writes the rejected ones to a file."""

    filters: Mapping[str, Filter]
    select: Callable[[Sequence[AnsweredRecord]], list[str | None]]
    """The reason to reject each answer to one record, or None."""
    excess: Set[tuple[str, int]]
    """Good answers that are rejected all the same, because others like them are too frequent: (record id, sample)."""
    rejected: BinaryIO
    progress: Progress
    total: int
    prompts: set[str] = field(default_factory=set)
    """Ids of the records with a good answer."""
    reasons: Counter[str] = field(default_factory=Counter)
    asked_by: Counter[str] = field(default_factory=Counter)
    """Number of answers by teacher."""
    kept_by: Counter[str] = field(default_factory=Counter)

    @property
    def asked(self) -> int:
        """Number of answers so far."""
        return self.asked_by.total()

    @property
    def kept(self) -> int:
        """Number of kept answers so far."""
        return self.kept_by.total()

    def keep(self, answers: Iterable[AnsweredRecord]) -> Iterator[AnsweredRecord]:
        """Yield the answers that pass all filters and are selected among those to their record."""
        for record_id, draws in groupby(answers, key=lambda answered: answered.record.id):
            passed = [answered for answered in draws if self._passes(answered)]
            for answered, reason in zip(passed, self.select(passed), strict=True):
                if reason:
                    self._reject(answered, reason)
                    continue
                self.prompts.add(record_id)
                if (record_id, answered.sample) in self.excess:
                    self._reject(answered, balance.REASON)
                    continue
                self.kept_by[answered.teacher] += 1
                yield answered

    def _passes(self, answered: AnsweredRecord) -> bool:
        if self.asked % _REPORT_EVERY == 0:
            self.report()
        self.asked_by[answered.teacher] += 1
        reason = find_rejection(answered, self.filters)
        if reason:
            self._reject(answered, reason)
        return reason is None

    def _reject(self, answered: AnsweredRecord, reason: str) -> None:
        self.reasons[reason] += 1
        self.rejected.write(_encode_rejected(answered, reason))

    def report(self) -> None:
        """Report the progress."""
        self.progress.working(done=self.asked, total=self.total, unit="answers", figures={"kept": self.kept})


def _make_dataset(context: StageContext) -> None:
    """Write the answers that pass all filters, and next to them the rejected ones with their reasons."""
    store, keys, spec = context.store, context.keys, context.job.spec
    train = read_rows(store, keys["rows"], "train")
    total = _count_answers(context, train)

    def select(rejected: BinaryIO, *, excess: Set[tuple[str, int]] = frozenset()) -> _Selector:
        filters, selection = make_filters(spec, train), make_selection(spec, shortest=context.choices.keeps_shortest)
        return _Selector(filters, selection, excess, rejected, context.progress, total)

    excess = frozenset[tuple[str, int]]()
    if spec.curation.max_share is not None:  # shares are known only after all answers were read once
        with Path(os.devnull).open("wb") as nothing:
            excess = balance.find_excess(select(nothing).keep(_answers(context, train)), spec)
    with draft_artifact(store, "dataset", keys["dataset"]) as draft, tempfile.TemporaryDirectory() as staging:
        with (Path(staging) / "rejected.jsonl").open("wb") as rejected:
            selector, diversity = select(rejected, excess=excess), Diversity(spec.task)
            write_dataset(store, draft, diversity.watch(selector.keep(_answers(context, train))))
        store.put(f"{draft}/rejected.jsonl", Path(rejected.name))
        selector.report()
        figures = DatasetFigures(
            asked=selector.asked,
            kept=selector.kept,
            rejected=dict(sorted(selector.reasons.items())),
            keep_ratio=len(selector.prompts) / len(train),
            labels=dict(sorted(diversity.labels.items())),
            distinct_pairs=diversity.distinct_pairs,
            teachers={
                name: TeacherAnswers(asked=asked, kept=selector.kept_by[name])
                for name, asked in sorted(selector.asked_by.items())
                if name
            },
        )
        try:
            check_kept(figures, spec=spec)
        except LowYield:  # a person will want to see the rejected answers
            leave_draft(store, "dataset", keys["dataset"], draft=draft)
            raise
        publish(store, "dataset", keys["dataset"], figures, draft=draft)


def _count_answers(context: StageContext, train: Sequence[Record]) -> int:
    if context.job.spec.data.train.answers == "Given":
        return len(train)
    return read_figures(context.store, "answers", context.keys["answers"], AnswersFigures).splits["train"].asked


def _answers(context: StageContext, train: Sequence[Record]) -> Iterator[AnsweredRecord]:
    """Return the answers to the training records: the references if they are given, or the teacher's."""
    if context.job.spec.data.train.answers == "Given":
        records = [for_student(record, context.job.spec.task) for record in train]
        return iter(given_answers(records, every_turn=_every_turn(context.job)))
    answers = read_answer_set(context.store, "answers", context.keys["answers"], "train")
    return (to_target(one, context.job.spec.task) for one in answers)


def _make_samples(context: StageContext, *, dataset: DatasetFigures) -> None:
    """Write the samples of the kept answers and of the validation answers, in the student's tokens."""
    store, keys, choices = context.store, context.keys, context.choices
    context.progress.loading("loading the student's tokenizer")
    rendering = make_rendering(choices)
    counts = {"train": Counts(), "validation": Counts()}
    answers = {
        "train": _report_progress(read_dataset(store, keys["dataset"]), total=dataset.kept, progress=context.progress),
        "validation": _validation(context),
    }
    with draft_artifact(store, "samples", keys["samples"]) as draft:
        for split, answered in answers.items():
            samples = make_samples(answered, rendering=rendering, max_length=choices.max_length, counts=counts[split])
            write_samples(store, draft, split, samples)
            if not counts[split].samples and split == "train":
                raise _no_samples(counts[split])
        validation = counts["validation"]
        figures = SamplesFigures(
            **asdict(counts["train"]),
            validation=SplitSamples(samples=validation.samples, overlong=validation.overlong),
        )
        publish(store, "samples", keys["samples"], figures, draft=draft)


def _report_progress(answers: Iterable[AnsweredRecord], *, total: int, progress: Progress) -> Iterator[AnsweredRecord]:
    """Yield answers unchanged, and report their number."""
    for place, answered in enumerate(answers):
        if place % _REPORT_EVERY == 0:
            progress.working(done=place, total=total, unit="samples")
        yield answered


def _validation(context: StageContext) -> Iterator[AnsweredRecord]:
    """Return the teacher's greedy answers that ended, or the references if the answers are given."""
    job, store, keys = context.job, context.store, context.keys
    if job.spec.data.train.answers == "Given":
        records = read_rows(store, keys["rows"], "validation")
        judged = (for_student(record, job.spec.task) for record in records if record.references)
        return iter(given_answers(judged, every_turn=_every_turn(job)))
    asked = read_answer_set(store, "judge", keys["judge"], "validation")
    targets = (to_target(one, job.spec.task) for one in asked)
    return (one for one in choose_answers(targets, spec=job.spec) if one.answer.ended and not is_empty(one))


def _every_turn(job: StageJob) -> bool:
    return job.spec.data.train.targets == "All"


def _no_samples(counts: Counts) -> LowYield:
    if counts.overlong:
        problem = f"all {counts.overlong} samples are longer than maxLength"
        return LowYield(problem, at="spec.training.maxLength", fix="Raise it")
    return LowYield(
        "no answer was kept, so there are no samples to train on",
        at="spec.curation.minKeepRatio",
        fix="Check rejected.jsonl in the dataset artifact",
    )


def _encode_rejected(answered: AnsweredRecord, reason: str) -> bytes:
    values: JsonObject = {
        "id": answered.record.id,
        "sample": answered.sample,
        "reason": reason,
        "texts": [turn.text for turn in answered.answer.turns],
        **({"teacher": answered.teacher} if answered.teacher else {}),
    }
    return canonical_json(values) + b"\n"
