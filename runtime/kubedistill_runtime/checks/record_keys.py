"""Keys of a record: those that are read, those that are misspelled, and those that are ignored with a note."""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence

from kubedistill.errors import InvalidData
from kubedistill.json_values import Json, JsonObject

PROMPT_KEYS = ("messages", "prompt", "conversations", "instruction")
ANSWER_KEYS = {"prompt": ("completion",), "instruction": ("output", "response")}
"""The keys that may have the answer of a record, if it is not the final message; the first nonempty one counts."""
INPUT_KEYS = ("input", "context")
"""The keys of Alpaca and Dolly for the input of an instruction."""
OWN_KEYS = ("id", "tags", "reference")
"""The keys that a record of any format may have."""
_GOLD = (
    "label", "labels", "answer", "answers", "output", "completion", "expected", "expected_output", "gold",
    "ground_truth", "ideal", "response", "solution", "target", "chosen", "preferred",
)  # fmt: skip
_GUESSES = {
    **dict.fromkeys(_GOLD, "reference"),
    **dict.fromkeys(("question", "query", "text", "input"), "prompt"),
    **dict.fromkeys(("idx", "uuid", "custom_id", "prompt_id", "conversation_id"), "id"),
    "conversation": "conversations", "dialogue": "messages",
}  # fmt: skip
_CONSEQUENCES = {
    "tools": "no model is shown the tools",
    "functions": "no model is shown the functions",
    "weight": "every record counts once",
}

Remark = Callable[[str], None]
"""Adds a note about a record."""


def without_nulls(values: Mapping[str, Json]) -> JsonObject:
    """Return an object without its null values, which many tools write for missing keys."""
    return {key: value for key, value in values.items() if value is not None}


def first_filled(values: Mapping[str, Json], keys: Sequence[str]) -> str:
    """Return the first key with a nonempty value, otherwise the first key."""
    return next((key for key in keys if values.get(key) not in (None, "")), keys[0])


def find_prompt_key(values: Mapping[str, Json], *, at: str, remark: Remark) -> str:
    """Return the key of a record's prompt; raises InvalidData if there is none or several, or if a key is misspelled.

    Every other key that is not read gets a note, with a suggestion if one is likely.
    """
    prompts = [key for key in PROMPT_KEYS if key in values]
    if "prompt" in prompts and len(prompts) == 2 and _is_first_turn(values["prompt"], values):
        prompts.remove("prompt")
        remark("the prompt is not read, because it is the first user turn of the record")
    _check_misspelled(values, has_prompt=bool(prompts), at=at)
    if len(prompts) != 1:
        keys = ", ".join(map(repr, sorted(values)[:8])) or "none"
        problem = f"a record must have exactly one of {', '.join(PROMPT_KEYS)}, but the keys of this one are {keys}"
        raise InvalidData(problem, at=at, fix=_fix_for(values) if not prompts else "Keep one of them")
    read = {prompts[0], *OWN_KEYS, "system", *_further_keys(prompts[0], values)}
    _note_unread({key: value for key, value in values.items() if key not in PROMPT_KEYS}, read=read, remark=remark)
    return prompts[0]


def check_template_keys(values: Mapping[str, Json], *, variables: Collection[str], at: str, remark: Remark) -> None:
    """Check the keys of a record whose prompt is made by a template that reads the variables.

    Raises InvalidData for a misspelled key, and every other key that is not read gets a note.
    """
    unread = {key: value for key, value in values.items() if key not in variables}
    _check_misspelled(unread, has_prompt=True, at=at)
    _note_unread(values, read={*variables, *OWN_KEYS, "system"}, remark=remark)


def _note_unread(values: Mapping[str, Json], *, read: Collection[str], remark: Remark) -> None:
    for key in values:
        if key not in read:
            remark(f"the key {key!r} is not read{_suggest(key, values, read=read)}")


def _is_first_turn(prompt: Json, values: Mapping[str, Json]) -> bool:
    """Return whether a prompt repeats the first user turn of the messages, as in ultrachat_200k."""
    turns = values.get("messages", values.get("conversations"))
    for turn in turns if isinstance(turns, list) else ():
        if isinstance(turn, dict) and turn.get("role", turn.get("from")) in ("user", "human"):
            content = turn.get("content", turn.get("value"))
            return isinstance(prompt, str) and isinstance(content, str) and prompt.strip() == content.strip()
    return False


def _further_keys(prompt: str, values: Mapping[str, Json]) -> set[str]:
    """Return the keys that are read in addition to the prompt's, including empty ones."""
    families = [ANSWER_KEYS.get(prompt, ()), INPUT_KEYS if prompt == "instruction" else ()]
    chosen = {first_filled(values, keys) for keys in families if keys}
    return chosen | {key for keys in families for key in keys if values.get(key) == ""}


def _check_misspelled(values: Mapping[str, Json], *, has_prompt: bool, at: str) -> None:
    """Check that no key resembles a missing key that affects results; raises InvalidData."""
    wanted = [key for key in ("reference", *(() if has_prompt else PROMPT_KEYS)) if key not in values]
    for key in values:
        if key in (*PROMPT_KEYS, *OWN_KEYS):
            continue
        if near := difflib.get_close_matches(key.casefold(), wanted, n=1, cutoff=0.8):
            raise InvalidData(f"unknown key {key!r}", at=at, fix=f"Did you mean {near[0]!r}?")


def _fix_for(values: Mapping[str, Json]) -> str:
    for key in values:
        if _GUESSES.get(key.casefold()) in PROMPT_KEYS:
            return f"Rename {key!r} to {_GUESSES[key.casefold()]!r}"
    return 'Write {"prompt": "…"} or {"messages": [{"role": "user", "content": "…"}]}'


def _suggest(key: str, values: Mapping[str, Json], *, read: Collection[str]) -> str:
    name = key.casefold()
    if name in _CONSEQUENCES:
        return f": {_CONSEQUENCES[name]}"
    near = [_GUESSES[name]] if name in _GUESSES else difflib.get_close_matches(name, OWN_KEYS, n=1, cutoff=0.8)
    if near and near[0] in read and near[0] not in values:
        return f"; did you mean {near[0]!r}?"
    return ""
