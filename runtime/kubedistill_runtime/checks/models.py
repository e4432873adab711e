"""Whether teacher and student accept the records: templates, lengths and special tokens."""

from collections.abc import Callable, Mapping, Sequence

from kubedistill.contract import StageJob
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.chat import load_chat_format
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
from kubedistill_runtime.teachers.teacher import Teacher


def check_teacher_alone(teacher: Teacher, *, job: StageJob, splits: Mapping[Split, Sequence[Record]]) -> None:
    """Check that a teacher on this machine accepts the records; raises InvalidModel, with its field."""
    if teacher.model is not None:
        at = _source_of(teacher)
        chat = load_chat_format(teacher.model, at=at, date=date_of(job), generates=True)
        check_prompts(_ask(splits, for_teacher, task=job.spec.task), chat=chat, at=at)
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


def fit_teacher(found: Input, *, choices: Choices, task: Task) -> None:
    """Drop the prompts that are too long for the teacher; raises InvalidModel if it does not accept the others.

    An endpoint refuses such prompts itself, one by one.
    """
    model, limit, at = choices.teacher.model, choices.max_model_len, _source_of(choices.teacher)
    if model is None:
        _check_tokenizer(choices.teacher)
        return
    chat = load_chat_format(model, at=at, date=choices.date, generates=True)
    check_prompts(_ask(found.splits, for_teacher, task=task), chat=chat, at=at)
    for split in SPLITS:
        found.splits[split], too_long = drop_long(
            found.splits[split],
            count_tokens=lambda record: count_tokens(for_teacher(record, task), chat=chat, model=model, at=at),
            limit=limit,
        )
        found.drop("TooLong", split, too_long)
    original = original_positions(model.config)
    if original is not None and limit > original:
        found.notes.append(
            f"the teacher's original length is {original} positions (LongRoPE), and with maxModelLen "
            f"{limit} the engine uses the frequencies for long prompts, also for short ones"
        )
    if special := count_special_text(found.splits, chat=chat):
        found.notes.append(
            f"{special} records contain the text of a special token of the teacher, which is encoded as plain text"
        )


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


def _source_of(teacher: Teacher) -> str:
    return f"{teacher.at}.model.source"
