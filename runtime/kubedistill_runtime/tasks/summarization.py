"""Summarization: a shorter version of a longer text."""

from kubedistill_runtime.tasks.task import Task, check_single_turn, parse_text

SUMMARIZATION = Task(check=check_single_turn, parse=parse_text, metrics=("rougeL", "rouge1", "rouge2"), shortens=True)
