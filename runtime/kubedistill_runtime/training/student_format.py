"""The student's chat format, and the rendering of a job's answers in it."""

from kubedistill_runtime.chat import load_chat_format, load_stop_ids
from kubedistill_runtime.choices import MODEL_AT, Choices
from kubedistill_runtime.training.rendering import Rendering

STUDENT_AT = f"{MODEL_AT['student']}.source"


def make_rendering(choices: Choices) -> Rendering:
    """Load the student's chat format; raises InvalidModel if it can't be used."""
    chat = load_chat_format(choices.student, at=STUDENT_AT, date=choices.date)
    return Rendering(chat, choices.form, frozenset(load_stop_ids(choices.teacher)))
