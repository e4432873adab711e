"""Math: a number or an expression, which may be at the end of a worked solution."""

import re

from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.records import Record
from kubedistill_runtime.tasks.task import Task, check_single_turn

_BOX = re.compile(r"(?P<box>\\f?boxed\s*\{)|\\.|[{}]", re.DOTALL)
"""The beginning or end of a LaTeX group, or an escaped character."""
_HASHES = re.compile(r"####[ \t]*(\S.*)")
"""The last line of a solution in GSM8K (arXiv 2110.14168)."""
_ANNOUNCEMENT = re.compile(r"\banswer\b[^.:=\n]{0,60}?(?:\s(?:is|are)\b|[:=])[ \t:]*", re.IGNORECASE)
_MARKUP = re.compile(r"\*\*|__|`")
_SENTENCE_END = re.compile(r"\.(?:\s|$)|\n")
_TEXT = re.compile(r"\\(?:text|mathrm)\{[^{}]*\}")
_TOKEN = re.compile(r"\\[A-Za-z]+|[A-Za-z]+|\d|\S")
_MOST_UNIT_WORDS = 3
_MOST_CHARACTERS = 200
_REFERENCE_FIX = (
    "Write the answer alone, or a solution that ends with \\boxed{answer}, #### answer or 'The answer is …'"
)


def final_answer(text: str) -> str | None:
    r"""Return the final answer of a solution; None if the solution does not mark one.

    It is the last \boxed{…}; or the text after ####; or a number or expression after "the answer is" or "answer:"; or
    the whole text, if it is only that. A number somewhere in a sentence is not an answer.
    """
    boxed = _last_box(text)
    if boxed is not None:
        return boxed or None
    hashes = _HASHES.findall(text)
    if hashes:
        return _strip(hashes[-1]) or None
    plain = _MARKUP.sub("", text)
    *_, announced = [None, *_ANNOUNCEMENT.finditer(plain)]
    return _as_expression(plain if announced is None else _first_sentence(plain[announced.end() :]))


def find_marked(text: str) -> str | None:
    r"""Return the last \boxed{…}, the text after ####, or what the last line calls the answer; None without these."""
    if (boxed := _last_box(text)) is not None:
        return boxed or None
    if hashes := _HASHES.findall(text):
        return _strip(hashes[-1]) or None
    *_, last = ["", *text.strip().splitlines()]
    return final_answer(last) if _ANNOUNCEMENT.search(_MARKUP.sub("", last)) else None


def parse_answer(text: str, spec: TaskSpec) -> str | None:
    """Return the final answer in a string."""
    del spec
    return final_answer(text)


def find_unreadable_reference(record: Record, spec: TaskSpec) -> str | None:
    """Return the problem with the references, which may be whole solutions, or None."""
    del spec
    unread = next((one for one in record.references if final_answer(one) is None), None)
    if unread is None:
        return None
    shown = unread if len(unread) <= _MOST_CHARACTERS else f"{unread[:_MOST_CHARACTERS]}…"
    return f"reference {shown!r} has no final answer"


def _last_box(text: str) -> str | None:
    """Return the content of the \\boxed{…} that closes last, with the braces in it.

    None if there is no box, and "" if one does not close, since the solution was cut off.
    """
    found, groups = None, list[int | None]()
    for token in _BOX.finditer(text):
        if token["box"]:
            groups.append(token.end())
        elif token[0] == "{":
            groups.append(None)
        elif token[0] == "}" and groups and (start := groups.pop()) is not None:
            found = text[start : token.start()].strip()
    return found if all(start is None for start in groups) else ""


def _first_sentence(text: str) -> str:
    """Return a string up to the end of its first sentence or line."""
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text


def _as_expression(text: str) -> str | None:
    """Return a string that is a number or an expression, perhaps with a unit; None if it is anything else."""
    bare = _strip(text)
    fits = 0 < len(bare) <= _MOST_CHARACTERS and "\n" not in bare
    return bare if fits and _is_expression(_TEXT.sub(" ", bare)) else None


def _is_expression(text: str) -> bool:
    """Return whether the only words are a unit of a few words at the end, after a number or a LaTeX command."""
    tokens = _TOKEN.findall(text)
    words = [place for place, token in enumerate(tokens) if token.isalpha() and len(token) > 1]
    body = tokens[: words[0]] if words else tokens
    has_value = any(token.isnumeric() or len(token) > 1 for token in body)
    if not words:
        return has_value or any(token.isalpha() for token in body)
    unit = tokens[len(body) :]
    return has_value and len(words) <= _MOST_UNIT_WORDS and all(one.isalpha() or one in "/²³" for one in unit)


def _strip(text: str) -> str:
    """Return a string without white space, a period at its end and the dollar signs of LaTeX around it."""
    bare = text.strip().removesuffix(".").strip()
    if len(bare) > 2 and bare[0] == bare[-1] == "$":
        return bare.strip("$").strip()
    pairs = (("\\(", "\\)"), ("\\[", "\\]"))
    inner = next((bare[2:-2] for begin, end in pairs if bare.startswith(begin) and bare.endswith(end)), None)
    return bare if inner is None else inner.strip()


MATH = Task(
    check=check_single_turn,
    check_references=find_unreadable_reference,
    reference_fix=_REFERENCE_FIX,
    parse=parse_answer,
    find_marked=find_marked,
    final_answer="the number or expression alone",
    metrics=("mathMatch", "exactMatch"),
    exact=True,
)
