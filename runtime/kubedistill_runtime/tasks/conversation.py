"""Conversation: several turns of free text; a model's own replies become part of its next prompt."""

from collections.abc import Sequence

from kubedistill_runtime.tasks.task import Task, check_multi_turn


def parse_reply(text: str, labels: Sequence[str]) -> str | None:
    """Return the text, or None if it is blank; a conversation has no labels."""
    assert not labels, "the resource model refuses labels for this task"
    return text.strip() or None


CONVERSATION = Task(check=check_multi_turn, parse=parse_reply, metrics=("chrf", "bleu"), multi_turn=True)
