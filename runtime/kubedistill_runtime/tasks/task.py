"""What a task is, and the rules about roles that several tasks share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubedistill_runtime.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One kind of task; to add one is to add a file with one of these, a row in TASKS and a value of TaskType."""

    check: Callable[[Record], str | None]
    """What is wrong with a record's roles, or None."""
    check_references: Callable[[Record], str | None] | None = None
    """What is wrong with a record's references, or None."""
    parse: Callable[[str, Sequence[str]], str | None]
    """The answer in (text, labels), in the form that references have; None if the text is not in the required form."""
    metrics: tuple[str, ...]
    """Names in the table of metrics, the headline first."""
    short_answers: bool = False
    """Whether an answer is a label or a few words: one sample of it is then drawn greedily by default."""
    exact: bool = False
    """Whether an answer is right or wrong by the headline metric, which is then 0 or 1."""
    multi_turn: bool = False
    """Whether a record may have several user turns; its assistant turns then stay in it."""


def check_single_turn(record: Record) -> str | None:
    """Ask for an optional system message and one user message."""
    roles = [message.role for message in record.messages]
    if roles in (["user"], ["system", "user"]):
        return None
    return f"the roles are {_listed(roles)}, and this task takes [system,] user"


def check_multi_turn(record: Record) -> str | None:
    """Ask for an optional system message, then user and assistant in turn, user first; either may be the last."""
    roles = [message.role for message in record.messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    expected = ["user" if place % 2 == 0 else "assistant" for place in range(len(turns))]
    if turns and turns == expected:
        return None
    return f"the roles are {_listed(roles)}, and this task takes [system,] user, assistant, user, … in turn"


def _listed(roles: Sequence[str]) -> str:
    shown = ", ".join(roles[:6]) or "none"
    return f"{shown}, …" if len(roles) > 6 else shown
