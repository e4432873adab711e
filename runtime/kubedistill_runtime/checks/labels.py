"""References of label tasks: each becomes the label that the manifest declares, or is refused with a guess."""

import difflib
import unicodedata
from collections.abc import Sequence

from kubedistill.errors import InvalidData
from kubedistill.v1alpha1 import find_label, label_key

_SHOWN_LABELS = 8


def read_labels(references: Sequence[str], labels: Sequence[str], *, at: str) -> tuple[str, ...]:
    """Return the declared label of each reference, every label once; raises InvalidData for what is none of them."""
    found = {}
    for reference in references:
        label = find_label(reference, labels)
        if label is None:
            problem = f"reference {reference!r} is not one of the task's labels"
            raise InvalidData(problem, at=at, fix=_guess(reference, labels))
        found[label] = True
    return tuple(found)


def _guess(reference: str, labels: Sequence[str]) -> str:
    """The nearest label, compared as find_label compares; a character that may look like one of its own is named."""
    by_key = {label_key(label): label for label in labels}
    wanted = label_key(reference)
    near = difflib.get_close_matches(wanted, by_key, n=1)
    if not near:
        more = ", …" if len(labels) > _SHOWN_LABELS else ""
        return f"The labels are {', '.join(labels[:_SHOWN_LABELS])}{more}"
    odd = [character for character in wanted if ord(character) > 0x7F and character not in near[0]]
    name = unicodedata.name(odd[0], "a character without name").lower() if odd else ""
    return f"Did you mean {by_key[near[0]]!r}?" + (f" The reference holds U+{ord(odd[0]):04X} ({name})" if odd else "")
