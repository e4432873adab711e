"""Reasoning before an answer: what a model is asked, the final answer in its reply, and what a student learns of it."""

import re
from collections.abc import Iterator
from dataclasses import replace

from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.answers import AnsweredRecord, Turn
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.tasks import TASKS

NO_FINAL_ANSWER = "no final answer"
"""The finish of a turn that the model ended by itself, but without a final answer."""
# Raise SCHEMAS["answers"] and SCHEMAS["judge"] in keys.py if the instruction changes.
_INSTRUCTION = (
    "Before you answer, reason step by step{limit}. Then give your answer in a last line of the form\n"
    "Answer: {answer}\n"
    "and write nothing after it."
)
_LENGTH = "Write a summary of at most {words} words."
_DENSITY = (
    "First write a summary of {words} words. Then repeat the following 4 times: name 1 to 3 entities of the text that "
    "the last summary does not have, and rewrite that summary so that it has them too, loses none, and is not longer. "
    "At the end, write a line with\n"
    "Final summary:\n"
    "and below it the last summary alone. Write nothing after it."
)
"""The chain of density, after Adams et al. 2023, arXiv 2309.04269."""
_DENSE_WORDS = "about 80"
"""The length in that paper, for a chain of density without a maximum."""
_SUMMARY = re.compile(r"[\s>#*_-]{0,8}final\s{1,8}summary\s{0,8}(?:\*\*|__)?\s{0,8}[:\uff1a]\s{0,8}(?:\*\*|__)?", re.I)
_MARKER = re.compile(
    r"[\s>#-]{0,8}(?P<bold>\*\*|__)?\s{0,8}(?:(?:my|the)\s{1,8})?(?:final\s{1,8})?answer\s{0,8}"
    r"(?P<closed>\*\*|__)?\s{0,8}[:\uff1a]\s{0,8}(?P<late>\*\*|__)?(?P<rest>.*)",
    re.IGNORECASE,
)
"""The words before a final answer, perhaps in bold: `closed` and `late` end what `bold` began, or begin something new.

Chinese models write a wide colon."""
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,})\w*\s*")
_DISPLAY = re.compile(r"\s*(?:\\[\[\]]|\$\$)\s*")
"""A line that begins or ends a formula in LaTeX."""
_COUNT = re.compile(
    r"[\s*_(\[]*(?:word\s?count\W{0,4}\d+(?:\s+words)?|\d+\s+words)[\s*_)\].]*|\s*(?:-{3,}|\*{3,}|_{3,})?\s*", re.I
)
"""A last line that does not belong to a summary: the number of its words, a rule, or white space."""
_QUOTES = (("**", "**"), ("`", "`"), ('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("[", "]"), ("<", ">"))


def for_teacher(record: Record, task: TaskSpec) -> Record:
    """Return a record as the teacher is asked."""
    if task.chain_of_thought:
        return _add(record, _reason(task))
    if task.chain_of_density:
        words = task.max_summary_words
        return _add(record, _DENSITY.format(words=f"at most {words}" if words else _DENSE_WORDS))
    return _limit(record, task)


def for_student(record: Record, task: TaskSpec) -> Record:
    """Return a record as the student is asked, in training and in the evaluation."""
    return _limit(record, task) if task.answers_alone else for_teacher(record, task)


def to_target(answered: AnsweredRecord, task: TaskSpec) -> AnsweredRecord:
    """Return a teacher's answer as a student learns it: the reply, or its final answer alone, without ids.

    A turn that ended, but without a final answer, gets the finish NO_FINAL_ANSWER.
    """
    record, answer = for_student(answered.record, task), answered.answer
    if task.chain_of_thought or task.chain_of_density:
        answer = replace(answer, turns=tuple(_to_target(turn, task) for turn in answer.turns))
    return replace(answered, record=record, answer=answer)


def read_answer(text: str, task: TaskSpec) -> str | None:
    """Return the answer in a reply that a student learns or gives, in the form that references have.

    None if it is not in the task's form.
    """
    if not (task.chain_of_thought and task.keep_reasoning):
        return TASKS[task.type].parse(text, task)
    final = _read_final(text, task)
    return final and final[1]


def find_final(text: str, task: TaskSpec) -> str | None:
    """Return the final answer at the end of a chain of thought; None if the reply does not end in one.

    White space, emphasis and the fence of a code block around it are removed. Quotation marks and a period are removed
    only if the answer is then in the task's form, and was not before.
    """
    final = _read_final(text, task)
    return final and (final[1] or final[0])


def _read_final(text: str, task: TaskSpec) -> tuple[str, str | None] | None:
    """Return the final answer as it is written, and in the form of references if it is in the task's form."""
    kind = TASKS[task.type]
    if task.chain_of_density:
        final = _find_summary(text)
    else:
        final = _find_last_line(text) or (kind.find_marked(text) if kind.find_marked else None)
    if final is None:
        return None
    parsed = (kind.parse(spelling, task) for spelling in _spellings(final))
    return final, next((answer for answer in parsed if answer is not None), None)


def _reason(task: TaskSpec) -> str:
    """Return the instruction of a chain of thought."""
    kind = TASKS[task.type]
    limit = " in at most 80 words" if kind.short_answers else ""
    return _INSTRUCTION.format(limit=limit, answer=kind.final_answer)


def _limit(record: Record, task: TaskSpec) -> Record:
    """Ask for a summary of a maximum length, if there is one."""
    words = task.max_summary_words
    return record if words is None else _add(record, _LENGTH.format(words=words))


def _add(record: Record, instruction: str) -> Record:
    """Add an instruction to the system message of a record, or as its system message."""
    system = [message for message in record.messages if message.role == "system"]
    others = [message for message in record.messages if message.role != "system"]
    texts = [*(message.content for message in system), instruction]
    return replace(record, messages=(Message("system", "\n\n".join(texts)), *others))


def _to_target(turn: Turn, task: TaskSpec) -> Turn:
    if turn.finish != "stop" or not turn.text.strip():
        return turn
    final = find_final(turn.text, task)
    if final is None:
        return replace(turn, finish=NO_FINAL_ANSWER)
    return turn if task.keep_reasoning else Turn((), (), final, turn.finish, usage=turn.usage)


def _find_summary(text: str) -> str | None:
    """Return what follows the last line that begins with `Final summary:`."""
    lines = [line for line in text.splitlines() if not _FENCE.fullmatch(line)]
    marked = [place for place, line in enumerate(lines) if _SUMMARY.match(line)]
    if not marked:
        return None
    found = [_SUMMARY.sub("", lines[marked[-1]], count=1), *lines[marked[-1] + 1 :]]
    while found and _COUNT.fullmatch(found[-1]):
        found.pop()
    return _without_bold("\n".join(found).strip()) or None


def _find_last_line(text: str) -> str | None:
    """Return what follows `Answer:` in the last line, or the last line if `Answer:` is the whole line before it."""
    lines = [line for line in text.splitlines() if line.strip() and not _FENCE.fullmatch(line)]
    lines = [line for line in lines if not _DISPLAY.fullmatch(line)]
    if not lines:
        return None
    rest = _after_marker(lines[-1])
    if rest is None and len(lines) > 1 and _after_marker(lines[-2]) == "":
        rest = _without_bold(lines[-1].strip())
    return rest or None


def _after_marker(line: str) -> str | None:
    """Return what follows `Answer:` in a line, without emphasis; None if the line does not begin with it."""
    found = _MARKER.fullmatch(line)
    if found is None:
        return None
    rest, bold, late = found["rest"].strip(), found["bold"], found["late"] or ""
    if not bold or found["closed"]:
        return _without_bold(late + rest)
    return _without_bold(rest) if late else rest.removesuffix(bold).strip()


def _without_bold(text: str) -> str:
    inner = text.removeprefix("**").removesuffix("**")
    return inner.strip() if len(inner) == len(text) - 4 and "**" not in inner else text


def _spellings(final: str) -> Iterator[str]:
    """Yield an answer as it is, then without a period and without quotation marks."""
    yield final
    bare = final.removesuffix(".")
    yield bare
    for opening, closing in _QUOTES:
        if len(bare) > len(opening + closing) and bare.startswith(opening) and bare.endswith(closing):
            yield bare[len(opening) : -len(closing)].removesuffix(".")
