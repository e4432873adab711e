"""The student's format: the settings with which it is served, and the rendering of answers for it."""

from kubedistill_runtime.chat import date_for, load_chat_format, load_stop_ids
from kubedistill_runtime.choices import STUDENT_AT, Choices
from kubedistill_runtime.models import Model, original_positions
from kubedistill_runtime.serving.engine import Serving
from kubedistill_runtime.training.rendering import Rendering


def student_context(choices: Choices) -> int:
    """Return the maximum length of sequences when the student is served, in tokens.

    A LongRoPE student has two sets of frequencies. It is trained with those for its original length if a sample fits
    into that, so it is served within that length: beyond it, an engine would use the other set for all requests.
    """
    positions = choices.student.max_positions or choices.max_model_len
    longest = min(choices.max_model_len, positions)
    original = original_positions(choices.student.config)
    return min(longest, original) if original and choices.max_length <= original else longest


def student_serving(model: Model, *, choices: Choices) -> Serving:
    """Return the settings of a student's engine."""
    return Serving(
        model=model,
        max_model_len=student_context(choices),
        dtype=choices.student_dtype,
        hardware=choices.student_hardware,
        stop_ids=load_stop_ids(model),
        at=STUDENT_AT,
        date=date_for(model, choices.date),
    )


def make_rendering(choices: Choices) -> Rendering:
    """Load the student's chat format; raises InvalidModel if it can't be used."""
    chat = load_chat_format(choices.student, at=STUDENT_AT, date=choices.date)
    models = [teacher.tokenizer for teacher in choices.teachers if teacher.tokenizer is not None]
    return Rendering(chat, choices.form, frozenset[int]().union(*map(load_stop_ids, models)), thinks=choices.thinks)
