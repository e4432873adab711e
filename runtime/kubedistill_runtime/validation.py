"""Validation: all errors that Prepare would report, at once, without downloads and without changes to the store."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from kubedistill.contract import StageJob
from kubedistill.contract.events import Finding, ValidatedEvent
from kubedistill.errors import KubedistillError, ModelDoesNotFit
from kubedistill.manifest.limits import check_gpus_per_worker
from kubedistill.paths import find_store_problem
from kubedistill_runtime.checks.balance import check_max_share
from kubedistill_runtime.checks.engine_args import check_engine_args
from kubedistill_runtime.checks.exports import check_export_folders
from kubedistill_runtime.checks.fit import check_fit
from kubedistill_runtime.checks.gates import check_sample_limit
from kubedistill_runtime.checks.input import (
    Input,
    assemble,
    check_enough,
    describe_judged,
    read_split,
    sample_test,
)
from kubedistill_runtime.checks.lengths import check_student_length, check_teacher_length
from kubedistill_runtime.checks.models import check_student, check_student_alone, check_teacher_alone, fit_teachers
from kubedistill_runtime.checks.routing import check_routing
from kubedistill_runtime.checks.selection import check_selection, check_trace_length
from kubedistill_runtime.checks.splits import check_sizes
from kubedistill_runtime.checks.storage import check_store
from kubedistill_runtime.checks.task import check_task
from kubedistill_runtime.choices import Choices, choose, find_student, find_teacher
from kubedistill_runtime.data_files import data_sources, root_path
from kubedistill_runtime.hub_errors import DataNotOnThisMachine, NotOnThisMachine
from kubedistill_runtime.models import Model
from kubedistill_runtime.redaction import AT as REDACTED_AT
from kubedistill_runtime.storage.store import locate_store
from kubedistill_runtime.teachers.teacher import Teacher

_T = TypeVar("_T")


@dataclass(slots=True)
class Findings:
    """The findings of a validation."""

    problems: list[KubedistillError] = field(default_factory=list)
    """Errors that a run would fail with."""
    notes: list[str] = field(default_factory=list)
    """Information for a person."""
    unchecked: list[str] = field(default_factory=list)
    """Checks that were not possible here, and why."""

    def attempt(self, check: Callable[[], _T]) -> _T | None:
        """Run a check; returns its result, or None if it fails."""
        try:
            return check()
        except NotOnThisMachine as error:
            self.unchecked.append(f"template, tokenizer and lengths of {error.at}: {error.problem}")
        except DataNotOnThisMachine as error:
            self.unchecked.append(f"records of {error.at}: {error.problem}")
        except KubedistillError as error:
            self.problems.append(error)
        return None

    def to_event(self) -> ValidatedEvent:
        """Return the findings as an event."""
        problems = [Finding.of(one) for one in self.problems]
        return ValidatedEvent(problems=problems, notes=self.notes, unchecked=self.unchecked)


def validate(job: StageJob) -> Findings:
    """Run every check that is possible with the files on this machine, also after a problem."""
    found = Findings()
    found.attempt(lambda: check_store(job, store=locate_store(job.store)))
    uri = job.spec.storage.uri
    if uri is not None and (problem := find_store_problem(uri)) is not None:  # on this machine, --store replaces it
        found.notes.append(f"spec.storage.uri: {problem}, so the job cannot run in a cluster")
    data = _check_data(job, found)
    found.attempt(lambda: check_gpus_per_worker(job.spec))
    found.attempt(lambda: check_engine_args(job.spec))
    found.attempt(lambda: check_sample_limit(job.spec))
    found.attempt(lambda: check_routing(job.spec))
    found.attempt(lambda: check_selection(job.spec))
    found.attempt(lambda: check_trace_length(job.spec))
    found.attempt(lambda: check_max_share(job.spec))
    teachers = [
        found.attempt(partial(find_teacher, job, place, store=None, fetch=False))
        for place in range(len(job.spec.teachers))
    ]
    known = tuple(teacher for teacher in teachers if teacher is not None)
    student = found.attempt(lambda: find_student(job, store=None, fetch=False))
    data_root, name = root_path(job.data_root), job.job.full_name
    found.attempt(lambda: check_export_folders(job.spec.export, data_root=data_root, key="", job=name))
    if len(known) < len(teachers) or student is None:
        if data is not None:
            found.notes += [*data.notes, *describe_judged(data.splits["test"], spec=job.spec)]
        for teacher in known:
            _check_teacher(teacher, job=job, data=data, found=found)
        if student is not None:
            _check_student(student, job=job, data=data, found=found)
        return found
    choices = found.attempt(lambda: choose(job, teachers=known, student=student))
    if choices is not None:
        _check_models(job, choices, data=data, found=found)
    return found


def _check_data(job: StageJob, found: Findings) -> Input | None:
    before = len(found.problems)
    found.attempt(lambda: check_task(job.spec.task))
    if len(found.problems) > before:  # each file would have the same problem
        return None
    as_it_is = partial(read_split, job, fetch=False, redact=False)
    files = {split: found.attempt(partial(as_it_is, split)) for split in data_sources(job.spec)}
    if job.spec.data.redact is not None:
        found.unchecked.append(f"{REDACTED_AT}: its code runs only in a job, so the records are checked as they are")
    read = {split: file for split, file in files.items() if file is not None}
    if len(read) < len(files):
        return None
    data = found.attempt(lambda: assemble(job, read))
    if data is not None:
        found.attempt(lambda: check_enough(job, data))
    return data


def _check_teacher(teacher: Teacher, *, job: StageJob, data: Input | None, found: Findings) -> None:
    """Run the checks that need no student."""
    found.attempt(lambda: check_teacher_length(teacher))
    if data is not None:
        found.attempt(lambda: check_teacher_alone(teacher, job=job, splits=data.splits))


def _check_student(student: Model, *, job: StageJob, data: Input | None, found: Findings) -> None:
    """Run the checks that need no teacher."""
    found.attempt(lambda: check_student_length(student, spec=job.spec))
    if data is not None:
        found.attempt(lambda: check_student_alone(student, job=job, splits=data.splits))


def _check_models(job: StageJob, choices: Choices, *, data: Input | None, found: Findings) -> None:
    for teacher in choices.teachers:
        found.attempt(partial(check_teacher_length, teacher))
    found.attempt(lambda: check_student_length(choices.student, spec=job.spec))
    try:
        check_fit(job, choices)
    except ModelDoesNotFit as error:  # it may fit where the job will run
        found.notes.append(f"this machine could not run the job: {error.at}: {error.problem}")
    found.notes.append(f"objective {choices.objective}: {choices.objective_reason}")
    if data is None:
        return
    task = job.spec.task
    found.attempt(lambda: fit_teachers(data, spec=job.spec, choices=choices))
    found.attempt(lambda: check_sizes(data.splits, dropped=data.dropped, places=data.places))
    asked = sample_test(data.splits, spec=job.spec)
    lengths = found.attempt(lambda: check_student(asked, choices=choices, task=task, places=data.places))
    found.notes += [*data.notes, *describe_judged(asked["test"], spec=job.spec), *(lengths or [])]
