"""A real engine whose replies are forced into a form: which forms it takes, and what it then says of probabilities."""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kubedistill.errors import InvalidManifest
from kubedistill_runtime.chat import load_chat_format, load_stop_ids
from kubedistill_runtime.chat.format import ChatFormat
from kubedistill_runtime.json_answers import is_valid_json
from kubedistill_runtime.models import Model
from kubedistill_runtime.records import Message
from kubedistill_runtime.serving.engine import Completion, Constraint, Engine, Sampling, Serving
from kubedistill_runtime.serving.session import LocalEngines

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"queue": {"enum": ["device", "plan"]}, "urgent": {"type": "boolean"}},
    "required": ["queue", "urgent"],
    "additionalProperties": False,
}
JSON = Constraint(json_schema=json.dumps(SCHEMA))
LABELS = ("plan.ask", "device.cancel")
TEXT = "This concerns the hardware, I am asking for technical help."


@pytest.fixture
def chat(teacher: Model) -> ChatFormat:
    return load_chat_format(teacher, at="teacher")


@pytest.fixture
def engine(engines: LocalEngines, teacher: Model) -> Iterator[Engine]:
    with engines.open(
        Serving(teacher, max_model_len=128, k=4, stop_ids=load_stop_ids(teacher), constraint=JSON)
    ) as one:
        yield one


@pytest.mark.engine
def test_a_reply_has_the_form_that_it_is_forced_into(engine: Engine, chat: ChatFormat) -> None:
    def ask(constraint: Constraint | None, *, k: int = 0) -> tuple[str, Completion]:
        sampling = Sampling(max_tokens=32, k=k, constraint=constraint)
        (found,) = engine.generate([chat.prompt_ids([Message("user", TEXT)])], sampling=sampling, seeds=[0])
        return chat.text(found.ids), found

    free, completion = ask(None, k=4)
    assert free == "device.fix"
    labeled, forced = ask(Constraint(choices=LABELS), k=4)
    assert (labeled, forced.finish) == ("device.cancel", "stop")
    assert re.fullmatch("[a-z]{3,5}", ask(Constraint(regex="[a-z]{3,5}"))[0])
    structured, whole = ask(JSON)
    assert whole.finish == "stop", "white space between the parts would go up to max_tokens"
    assert is_valid_json(structured, SCHEMA)
    assert completion.top is not None
    assert forced.top is not None
    assert np.isfinite(completion.top.logprobs_TK).all()
    assert np.isinf(forced.top.logprobs_TK).any(), "what the form forbids has no probability, so none are stored"


@pytest.mark.engine
def test_a_form_that_the_engine_does_not_know_is_refused_by_name(engines: LocalEngines, teacher: Model) -> None:
    unknown = Constraint(json_schema=json.dumps({"type": "array", "uniqueItems": True}))
    serving = Serving(teacher, max_model_len=128, stop_ids=load_stop_ids(teacher), constraint=unknown)
    with pytest.raises(InvalidManifest) as refused, engines.open(serving) as engine:
        engine.generate([[1, 2]], sampling=Sampling(max_tokens=2, constraint=unknown), seeds=[0])
    assert refused.value.at == "spec.generation.structuredOutput"
