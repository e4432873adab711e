"""A job whose models are the quickstart's student, and the bench to run its stages on."""

import pytest

from bench import Bench
from kubedistill_runtime.chat import ChatFormat
from workshop import QUICKSTART, Workshop


@pytest.fixture
def bench(workshop: Workshop, chat: ChatFormat) -> Bench:
    for model in ("teachers.0.model.source", "student.model.source"):
        workshop.set(model, str(QUICKSTART / "student"))
    workshop.set("generation.maxTokens", 24)
    return Bench(workshop, chat)
