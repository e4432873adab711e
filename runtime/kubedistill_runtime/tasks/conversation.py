"""Conversation: several turns of free text; the teacher's own replies are fed back to it."""

from collections.abc import Sequence

from kubedistill_runtime.tasks.task import Task, check_multi_turn


def parse_reply(text: str, labels: Sequence[str]) -> str | None:
    """Any text that is not blank; a conversation has no labels."""
    assert not labels, "the resource model refuses labels here"
    return text.strip() or None


CONVERSATION = Task(check=check_multi_turn, parse=parse_reply, metrics=("chrf", "bleu"), multi_turn=True)
