"""Whether teacher and student accept the records: templates, lengths and special tokens."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from kubedistill.contract import StageJob
from kubedistill.v1alpha1 import Spec, Task
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.checks.input import Input, place_of, sample_test
from kubedistill_runtime.checks.prompts import check_prompts, count_special_text, count_tokens
from kubedistill_runtime.checks.splits import drop_long
from kubedistill_runtime.checks.student_lengths import check_student_lengths
from kubedistill_runtime.choices import STUDENT_AT, Choices, date_of
from kubedistill_runtime.models import Model, original_positions
from kubedistill_runtime.records import SPLITS, Record, Split, read_rows
from kubedistill_runtime.storage.artifacts import find
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.tasks.reasoning import for_student, for_teacher
from kubedistill_runtime.teachers.routing import route
from kubedistill_runtime.teachers.teacher import Teacher


def check_teacher_alone(teacher: Teacher, *, job: StageJob, splits: Mapping[Split, Sequence[Record]]) -> None:
    """Check that a teacher on this machine accepts the records; raises InvalidModel, with its field."""
    if teacher.model is not None:
        chat = _read_with(teacher, teacher.model, date=date_of(job), task=job.spec.task).chat
        check_prompts(_ask(splits, for_teacher, task=job.spec.task), chat=chat, at=_source_of(teacher))
    else:
        _check_tokenizer(teacher)


def _check_tokenizer(teacher: Teacher) -> None:
    """Check that the tokenizer of an endpoint can be loaded, if it is named; raises InvalidModel."""
    if teacher.tokenizer is not None:
        load_chat_format(teacher.tokenizer, at=f"{teacher.at}.endpoint.tokenizer")


def check_student_alone(student: Model, *, job: StageJob, splits: Mapping[Split, Sequence[Record]]) -> None:
    """Check that a student accepts the records; raises InvalidModel, with its field."""
    chat = load_chat_format(student, at=STUDENT_AT, date=date_of(job))
    check_prompts(_ask(splits, for_student, task=job.spec.task), chat=chat, at=STUDENT_AT)


def fit_teachers(found: Input, *, spec: Spec, choices: Choices) -> None:
    """Drop the prompts that are too long for every teacher that answers them.

    An endpoint refuses such prompts itself, one by one. Raises InvalidModel if a teacher does not accept the others.
    """
    routes = {
        split: {one.id: route(one, teachers=spec.teachers, routing=spec.generation.routing) for one in some}
        for split, some in found.splits.items()
    }
    readers = {
        teacher.name: _read_with(teacher, teacher.model, date=choices.date, task=spec.task)
        for teacher in choices.teachers
        if teacher.model is not None
    }
    for teacher in choices.teachers:
        if teacher.model is None:
            _check_tokenizer(teacher)

    def asked(name: str) -> dict[Split, list[Record]]:
        return {split: [one for one in some if name in routes[split][one.id]] for split, some in found.splits.items()}

    def fits(split: Split, record: Record) -> bool:
        return any(name not in readers or readers[name].fits(record) for name in routes[split][record.id])

    for name, reader in readers.items():
        check_prompts(_ask(asked(name), for_teacher, task=spec.task), chat=reader.chat, at=reader.at)
    for split in SPLITS:
        found.splits[split], too_long = drop_long(found.splits[split], fits=partial(fits, split))
        found.drop("TooLong", split, too_long)
    for name, reader in readers.items():
        who = "the teacher" if len(choices.teachers) == 1 else f"teacher {name}"
        found.notes += reader.notes(asked(name), who=who)


@dataclass(frozen=True, slots=True)
class _Reader:
    """A served teacher, as far as it reads prompts."""

    teacher: Teacher
    model: Model
    chat: ChatFormat
    task: Task

    @property
    def at(self) -> str:
        return _source_of(self.teacher)

    def fits(self, record: Record) -> bool:
        limit = self.teacher.max_model_len
        assert limit is not None, "a served teacher has a maximum length"
        asked = for_teacher(record, self.task)
        return count_tokens(asked, chat=self.chat, model=self.model, at=self.at) < limit

    def notes(self, splits: Mapping[Split, Sequence[Record]], *, who: str) -> list[str]:
        notes, limit, original = [], self.teacher.max_model_len, original_positions(self.model.config)
        if original is not None and limit is not None and limit > original:
            notes.append(
                f"{who}'s original length is {original} positions (LongRoPE), and with maxModelLen {limit} the engine "
                "uses the frequencies for long prompts, also for short ones"
            )
        if special := count_special_text(splits, chat=self.chat):
            notes.append(
                f"{special} records contain the text of a special token of {who}, which is encoded as plain text"
            )
        return notes


def check_student(
    splits: Mapping[Split, Sequence[Record]], *, choices: Choices, task: Task, places: Mapping[Split, str]
) -> list[str]:
    """Check that the student accepts the records; returns notes about its lengths. Raises InvalidModel."""
    chat = load_chat_format(choices.student, at=STUDENT_AT, date=choices.date)
    asked = _ask(splits, for_student, task=task)
    check_prompts(asked, chat=chat, at=STUDENT_AT)
    return check_student_lengths(asked, choices=choices, chat=chat, places=places)


def check_student_on_rows(job: StageJob, choices: Choices, *, store: Store) -> list[str]:
    """Check this job's student on the rows of an earlier job, which may have had another student.

    A student that is trained already was checked before. Returns and raises the same as check_student.
    """
    if find(store, "student", choices.keys["student"]).complete:
        return []
    splits = {split: read_rows(store, choices.keys["rows"], split) for split in SPLITS}
    places = {split: place_of(job, split) for split in SPLITS}
    return check_student(sample_test(splits, spec=job.spec), choices=choices, task=job.spec.task, places=places)


def _ask(
    splits: Mapping[Split, Sequence[Record]], ask: Callable[[Record, Task], Record], *, task: Task
) -> dict[Split, list[Record]]:
    """Return the records as a model is asked."""
    return {split: [ask(record, task) for record in records] for split, records in splits.items()}


def _read_with(teacher: Teacher, model: Model, *, date: datetime.date, task: Task) -> _Reader:
    chat = load_chat_format(model, at=_source_of(teacher), date=date, generates=True)
    return _Reader(teacher, model, chat, task)


def _source_of(teacher: Teacher) -> str:
    return f"{teacher.at}.model.source"
