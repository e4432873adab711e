"""Served defaults: how servers run an exported student by default, where that is not how it was evaluated."""

import json
from collections.abc import Mapping

from kubedistill_runtime.models import Model, original_positions

_GENERATION = "generation_config.json"
_GREEDY: Mapping[str, tuple[float, ...]] = {
    "do_sample": (False,), "temperature": (0,), "top_p": (1,), "top_k": (0, -1), "min_p": (0,),
    "repetition_penalty": (1,), "presence_penalty": (0,), "frequency_penalty": (0,),
}  # fmt: skip
"""The settings that servers take from generation_config.json, with the values that leave greedy decoding as it is."""
_PENALTY = "_penalty"


def find_served_defaults(student: Model, *, context: int) -> list[str]:
    """Return the differences, as sentences without a period; the student was evaluated greedily, within `context`."""
    return [*_sampling_notes(student), *_length_notes(student, context=context)]


def _sampling_notes(student: Model) -> list[str]:
    """Return how the student's generation_config.json changes replies; vLLM reads temperature without do_sample too."""
    path = student.path / _GENERATION
    values = json.loads(path.read_bytes()) if path.exists() else {}
    found = {name: values[name] for name, greedy in _GREEDY.items() if values.get(name) not in (None, *greedy)}
    if not found:
        return []
    settings = ", ".join(f"{name} {json.dumps(value)}" for name, value in found.items())
    request = ["temperature 0", *(f"{name} {_GREEDY[name][0]}" for name in found if name.endswith(_PENALTY))]
    return [
        f"the student was evaluated with greedy decoding, but servers take other defaults from its {_GENERATION} "
        f"({settings}): send {' and '.join(request)} with each request"
    ]


def _length_notes(student: Model, *, context: int) -> list[str]:
    """Return that a longer context changes the frequencies of a LongRoPE student, if it was served within its own."""
    original = original_positions(student.config)
    if original is None or context > original or (student.max_positions or 0) <= original:
        return []
    return [
        f"the student was trained and evaluated within its original {original:,} positions (LongRoPE), but servers "
        f"with a longer maximum length use other frequencies: start vLLM with --max-model-len {original}"
    ]
