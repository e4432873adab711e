"""Whether two models share a tokenizer and a chat format, from their files alone."""

from dataclasses import dataclass
from typing import Any

from kubedistill.json_values import JsonObject
from kubedistill_runtime.chat.template import load_stop_ids, read_template
from kubedistill_runtime.models import Model, read_object

_FIX = "Fix or remove it"
# Truncation and padding are settings of a call, not of the tokenizer; the rest determines the ids.
_IRRELEVANT = ("truncation", "padding", "version")


@dataclass(frozen=True, slots=True)
class TokenizerComparison:
    """Whether two tokenizers give the same ids for every text, and if not, why."""

    shared: bool
    difference: str


def compare_tokenizers(teacher: Model, student: Model) -> TokenizerComparison:
    """Compare two models' tokenizer.json: all ids, merges and rules must be the same.

    Raises InvalidModel if one of them is not JSON.
    """
    files = [model.path / "tokenizer.json" for model in (teacher, student)]
    if files[0].read_bytes() == files[1].read_bytes():
        return TokenizerComparison(shared=True, difference="")
    first, second = (
        read_object(file, at=model.source, fix="Save the fast tokenizer next to the weights")
        for file, model in zip(files, (teacher, student), strict=True)
    )
    sizes = [_count_ids(settings) for settings in (first, second)]
    if sizes[0] != sizes[1]:
        return TokenizerComparison(shared=False, difference=f"tokenizers differ, {sizes[0]} and {sizes[1]} ids")
    for part in sorted((first.keys() | second.keys()) - set(_IRRELEVANT)):
        if first.get(part) != second.get(part):
            return TokenizerComparison(shared=False, difference=f"tokenizers differ in {part}")
    return TokenizerComparison(shared=True, difference="")


def format_difference(teacher: Model, student: Model) -> str:
    """Return how two models with the same vocabulary differ in prompts or ends of replies; "" if they do not.

    Equal templates are not enough: they may write tokens such as bos_token, which tokenizer_config.json defines.
    """
    if read_template(teacher) != read_template(student):
        return "another chat template"
    if teacher.template_variables != student.template_variables:
        return "other variables of its chat template"
    if set(load_stop_ids(teacher)) != set(load_stop_ids(student)):
        return "other stop tokens"
    if _named_tokens(teacher) != _named_tokens(student):
        return "other special tokens"
    if _settings(teacher) != _settings(student):
        return "other tokenizer settings"
    return ""


def _settings(model: Model) -> JsonObject:
    """Return other settings that affect how transformers encodes text: added tokens, and the tokenizer class."""
    places = (model.path / name for name in ("special_tokens_map.json", "added_tokens.json"))
    files = {path.name: read_object(path, at=model.source, fix=_FIX) for path in places if path.exists()}
    return {**files, "class": _read_config(model).get("tokenizer_class") or model.config.get("tokenizer_class")}


def _named_tokens(model: Model) -> JsonObject:
    """Return the special tokens in a tokenizer's settings, by role."""
    tokens = {role: token for role, token in _read_config(model).items() if role.endswith("_token")}
    return {role: token["content"] if isinstance(token, dict) else token for role, token in tokens.items()}


def _read_config(model: Model) -> JsonObject:
    path = model.path / "tokenizer_config.json"
    return read_object(path, at=model.source, fix=_FIX) if path.exists() else {}


def _count_ids(settings: dict[str, Any]) -> int:
    vocabulary = settings.get("model", {}).get("vocab", {})
    added = {token["content"] for token in settings.get("added_tokens", [])}
    # Unigram models list [piece, score]; all others map the piece to its id.
    pieces = {entry[0] for entry in vocabulary} if isinstance(vocabulary, list) else set(vocabulary)
    return len(pieces | added)
