"""The chat template, stop ids and reasoning tags in a model's files, read without loading its tokenizer."""

import datetime
import re
from typing import Any

from jinja2 import TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from kubedistill.errors import InvalidModel
from kubedistill_runtime.models import Model, read_object

_SET_ELSEWHERE = frozenset(
    {
        "add_generation_prompt", "bos_token", "chat_template", "continue_final_message", "conversation", "documents",
        "eos_token", "max_length", "messages", "padding", "return_assistant_tokens_mask", "return_dict",
        "raise_exception", "return_tensors", "strftime_now", "tokenize", "tokenizer_kwargs", "tools", "truncation",
        "cycler", "dict", "joiner", "lipsum", "namespace", "range",
    }
)  # fmt: skip
"""Arguments of transformers' apply_chat_template, variables that it sets itself, and Jinja's own functions."""
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""A tag of transformers, around what a model generates."""
REASONING = (
    # The text before the reasoning of a reply, and the text between reasoning and answer.
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # Harmony, of gpt-oss
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
)


def read_template(model: Model) -> str:
    """Return a model's chat template, or "" if it has none; transformers reads the .jinja file first."""
    path = model.path / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    config = model.path / "tokenizer_config.json"
    found = read_object(config, at=model.source, fix="Fix or remove it").get("chat_template") if config.exists() else ""
    if isinstance(found, list):  # several named templates; "default" is the one for plain conversations
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else ""


def check_variables(model: Model, *, at: str) -> None:
    """Check that the chat template has the variables that it is given; raises InvalidModel, with the field `at`."""
    if not model.template_variables:
        return
    left = _find_variables(read_template(model), at=at) - _SET_ELSEWHERE
    for name in model.template_variables:
        if name not in left:
            problem = f"{name!r} is not a variable that the chat template of {model.source} leaves to its user"
            raise InvalidModel(problem, at=at, fix="Fix its name, or remove it")


def _find_variables(template: str, *, at: str) -> set[str]:
    """Return the names that a template reads and does not set first."""
    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
    try:
        return meta.find_undeclared_variables(environment.parse(_GENERATION.sub("", template)))
    except TemplateSyntaxError as error:
        problem = f"its chat template can't be read: {(error.message or '').rstrip('.')}"
        raise InvalidModel(problem, at=at, fix="Correct the template") from error


def load_stop_ids(model: Model) -> tuple[int, ...]:
    """Return the ids that end a reply, from generation_config.json or config.json (Llama 3 has three)."""
    path = model.path / "generation_config.json"
    settings = read_object(path, at=model.source, fix="Fix or remove it") if path.exists() else {}
    found = [values.get("eos_token_id") for values in (settings, model.config)]
    named: Any = next((ids for ids in found if ids is not None), [])
    return tuple(named) if isinstance(named, list) else (named,)


def asks_for_date(model: Model) -> bool:
    """Return whether the chat template writes today's date into the prompt."""
    return "strftime_now" in read_template(model)


def date_for(model: Model, date: datetime.date) -> datetime.date | None:
    """Return the date if the model's template asks for it, otherwise None."""
    return date if asks_for_date(model) else None


def is_reasoning(model: Model) -> bool:
    """Return whether a model's chat template has tags for reasoning."""
    return reasoning_markers(read_template(model)) is not None


def reasoning_markers(template: str) -> tuple[str, str] | None:
    """Return the tags around reasoning in a template, or None if it has none."""
    if "<|channel|>" in template and "final" in template:  # macros assemble Harmony's tags
        return REASONING[0]
    return next((pair for pair in REASONING if pair[1] in template), None)
