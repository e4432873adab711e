"""The definition of a task, and what several tasks share: rules for roles, and reading free text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One kind of task. To add one, add a file with a Task, a row in TASKS and a value of TaskType."""

    check: Callable[[Record], str | None]
    """Return the problem with a record's roles, or None."""
    check_references: Callable[[Record, TaskSpec], str | None] | None = None
    """Return the problem with a record's references, or None."""
    reference_fix: str = ""
    """How to fix a reference that check_references refuses."""
    parse: Callable[[str, TaskSpec], str | None]
    """Return the answer in a string, in the form of references; None if it is not in the form that a spec requires."""
    metrics: tuple[str, ...]
    """Names in the table of metrics; the first one is the headline."""
    final_answer: str = ""
    """What a chain of thought gives after "Answer:"; empty if the task has no short final answer."""
    find_marked: Callable[[str], str | None] | None = None
    """Return the final answer that a reply marks in another way than the last line of a chain of thought, or None."""
    short_answers: bool = False
    """Whether an answer is a label or a few words; then one sample is drawn greedily by default."""
    exact: bool = False
    """Whether an answer is right or wrong by the headline metric, which is then 0 or 1."""
    shortens: bool = False
    """Whether an answer is a shorter version of its prompt."""
    multi_turn: bool = False
    """Whether a record may have several user turns; then its assistant turns are kept."""


def check_single_turn(record: Record) -> str | None:
    """Require an optional system message and one user message."""
    roles = [message.role for message in record.messages]
    if roles in (["user"], ["system", "user"]):
        return None
    return f"the roles are {_listed(roles)}, but this task requires [system,] user"


def check_multi_turn(record: Record) -> str | None:
    """Require an optional system message, then user and assistant in turn, user first; either may be the last."""
    roles = [message.role for message in record.messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    expected = ["user" if place % 2 == 0 else "assistant" for place in range(len(turns))]
    if turns and turns == expected:
        return None
    return f"the roles are {_listed(roles)}, but this task requires [system,] user, assistant, user, … in turn"


def parse_text(text: str, spec: TaskSpec) -> str | None:
    """Return a free text without white space around it, or None if it is blank."""
    del spec
    return text.strip() or None


def _listed(roles: Sequence[str]) -> str:
    shown = ", ".join(roles[:6]) or "none"
    return f"{shown}, …" if len(roles) > 6 else shown
