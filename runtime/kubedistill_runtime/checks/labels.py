"""References of label tasks: each becomes the label that the manifest declares, or is refused with a suggestion."""

import difflib
import unicodedata
from collections.abc import Sequence

from kubedistill.errors import InvalidData
from kubedistill.v1alpha1 import find_label, label_key

_SHOWN_LABELS = 8


def read_labels(references: Sequence[str], labels: Sequence[str], *, at: str) -> tuple[str, ...]:
    """Return the declared label of each reference, every label once; raises InvalidData for an unknown label."""
    found = {}
    for reference in references:
        label = find_label(reference, labels)
        if label is None:
            problem = f"reference {reference!r} is not one of the task's labels"
            raise InvalidData(problem, at=at, fix=_suggest(reference, labels))
        found[label] = True
    return tuple(found)


def _suggest(reference: str, labels: Sequence[str]) -> str:
    """Return a fix with the nearest label, compared like find_label, and a character that may be a look-alike."""
    by_key = {label_key(label): label for label in labels}
    wanted = label_key(reference)
    near = difflib.get_close_matches(wanted, by_key, n=1)
    if not near:
        more = ", …" if len(labels) > _SHOWN_LABELS else ""
        return f"The labels are {', '.join(labels[:_SHOWN_LABELS])}{more}"
    odd = [character for character in wanted if ord(character) > 0x7F and character not in near[0]]
    name = unicodedata.name(odd[0], "a character without a name").lower() if odd else ""
    return f"Did you mean {by_key[near[0]]!r}?" + (f" The reference has U+{ord(odd[0]):04X} ({name})" if odd else "")
