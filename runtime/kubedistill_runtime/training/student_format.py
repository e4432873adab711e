"""The student's side of rendering: its chat format, and how a job's answers are rendered in it."""

from kubedistill_runtime.chat import load_chat_format, load_stop_ids
from kubedistill_runtime.choices import MODEL_AT, Choices
from kubedistill_runtime.training.rendering import Rendering

STUDENT_AT = f"{MODEL_AT['student']}.source"


def make_rendering(resolved: Choices) -> Rendering:
    """Load the student's chat format; raises InvalidModel where it can't be used."""
    chat = load_chat_format(resolved.student, at=STUDENT_AT, date=resolved.date)
    return Rendering(chat, resolved.form, frozenset(load_stop_ids(resolved.teacher)))
