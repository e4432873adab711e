"""Question answering: a short answer to one question."""

from kubedistill_runtime.tasks.task import Task, check_single_turn, parse_text

QA = Task(
    check=check_single_turn,
    parse=parse_text,
    metrics=("exactMatch", "tokenF1"),
    final_answer="the short answer alone",
    short_answers=True,
    exact=True,
)
