"""Conversation: several turns of free text; a model's own replies become part of its next prompt."""

from kubedistill_runtime.tasks.task import Task, check_multi_turn, parse_text

CONVERSATION = Task(check=check_multi_turn, parse=parse_text, metrics=("chrf", "bleu"), multi_turn=True)
