"""Whether teacher and student take the records: their templates, their lengths, their special tokens."""

from collections.abc import Mapping, Sequence

from kubedistill.contract import StageJob
from kubedistill_runtime.chat import load_chat_format
from kubedistill_runtime.checks.input import Input
from kubedistill_runtime.checks.prompts import check_prompts, count_special_text, count_tokens
from kubedistill_runtime.checks.splits import drop_long
from kubedistill_runtime.checks.student_lengths import check_student_lengths
from kubedistill_runtime.choices import MODEL_AT, Choices, Role, date_of
from kubedistill_runtime.models import Model, original_positions
from kubedistill_runtime.records import SPLITS, Record, Split
from kubedistill_runtime.training.student_format import STUDENT_AT

TEACHER_AT = f"{MODEL_AT['teacher']}.source"


def check_model(role: Role, model: Model, *, job: StageJob, splits: Mapping[Split, Sequence[Record]]) -> None:
    """Refuse a model that can't be asked the records; raises InvalidModel, naming the model's field."""
    at = f"{MODEL_AT[role]}.source"
    chat = load_chat_format(model, at=at, date=date_of(job), generates=role == "teacher")
    check_prompts(splits, chat=chat, at=at)


def fit_teacher(found: Input, *, resolved: Choices) -> None:
    """Leave out the prompts that are too long for the teacher; raises InvalidModel where it can't be asked them."""
    chat = load_chat_format(resolved.teacher, at=TEACHER_AT, date=resolved.date, generates=True)
    check_prompts(found.splits, chat=chat, at=TEACHER_AT)
    for split in SPLITS:
        found.splits[split], too_long = drop_long(
            found.splits[split],
            count_tokens=lambda record: count_tokens(record, chat=chat, model=resolved.teacher, at=TEACHER_AT),
            limit=resolved.max_model_len,
        )
        found.drop("TooLong", split, too_long)
    original = original_positions(resolved.teacher.config)
    if original is not None and resolved.max_model_len > original:
        found.notes.append(
            f"the teacher was first made for {original} positions (LongRoPE), and maxModelLen {resolved.max_model_len} "
            "makes the engine use its other frequencies for every prompt, short ones too"
        )
    if special := count_special_text(found.splits, chat=chat):
        found.notes.append(
            f"{special} records hold the text of a special token of the teacher, which is encoded as plain text"
        )


def check_student(
    splits: Mapping[Split, Sequence[Record]], *, resolved: Choices, places: Mapping[Split, str]
) -> list[str]:
    """Refuse a student that can't be asked the records; returns what a person should know of its lengths."""
    chat = load_chat_format(resolved.student, at=STUDENT_AT, date=resolved.date)
    check_prompts(splits, chat=chat, at=STUDENT_AT)
    return check_student_lengths(splits, resolved=resolved, chat=chat, places=places)
