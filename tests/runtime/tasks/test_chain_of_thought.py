"""A chain of thought: what a model is asked, which final answers are read, and that no repair changes an answer."""

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import Task
from kubedistill.v1alpha1.task import REASONED
from kubedistill_runtime.answers import Answer, AnsweredRecord, Turn
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.tasks import TASKS
from kubedistill_runtime.tasks.reasoning import (
    NO_FINAL_ANSWER,
    find_final,
    for_student,
    for_teacher,
    read_answer,
    to_target,
)

LABELS = ("entailment", "neutral", "contradiction")
NLI = Task(type="NLI", chain_of_thought=True)
DENSE = Task(type="Summarization", chain_of_density=True)
QA = Task(type="QA", chain_of_thought=True)
MATH = Task(type="Math", chain_of_thought=True)
KEPT = NLI.model_copy(update={"keep_reasoning": True})

FINAL = {
    "the last line": (NLI, "The premise says so.\nAnswer: entailment", "entailment"),
    "blank lines after it": (NLI, "Answer: neutral \n\n", "neutral"),
    "a marker in bold": (NLI, "**Answer:** neutral", "neutral"),
    "a colon after bold": (NLI, "**Answer**: neutral", "neutral"),
    "a line in bold": (NLI, "**Answer: neutral**", "neutral"),
    "bold twice": (NLI, "**Answer:** **neutral**", "neutral"),
    "a period": (NLI, "Answer: neutral.", "neutral"),
    "quotation marks and a period": (NLI, 'Answer: "neutral."', "neutral"),
    "bold and a period": (NLI, "Answer: **neutral**.", "neutral"),
    "a code block": (NLI, "```\nAnswer: neutral\n```", "neutral"),
    "a heading": (NLI, "### Final answer: neutral", "neutral"),
    "another case": (NLI, "ANSWER: Neutral", "neutral"),
    "a wide colon": (NLI, "Answer\uff1aneutral", "neutral"),
    "the marker in a line of its own": (NLI, "So.\n\n**Answer:**\n\n**neutral**", "neutral"),
    "the last of two": (NLI, "Answer: neutral\nNo.\nAnswer: entailment", "entailment"),
    "no label": (NLI, "Answer: maybe", "maybe"),
    "a label in a sentence": (NLI, "Answer: not neutral", "not neutral"),
    "words after it": (NLI, "Answer: neutral\nBut I am not sure.", None),
    "no marker": (NLI, "neutral", None),
    "a marker in a sentence": (NLI, "So my answer: neutral", None),
    "nothing after the marker": (NLI, "So.\nAnswer:", None),
    "a name in underscores": (QA, "Answer: __init__", "__init__"),
    "a name in underscores after bold": (QA, "**Answer:** __init__", "__init__"),
    "a quotation": (QA, 'Answer: "To be"', '"To be"'),
    "a sentence": (QA, "Answer: Paris.", "Paris."),
    "a number": (MATH, "2 + 2 = 4\nAnswer: 4", "4"),
    "a box": (MATH, r"So \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
    "a line that differs from a box": (MATH, "First \\boxed{5}.\nAnswer: 6", "6"),
    "GSM8K": (MATH, "2 + 2 = 4\n#### 4", "4"),
    "a formula in lines of its own": (MATH, "So.\n**Answer:**\n\\[\n4\n\\]", "4"),
    "a formula between dollar signs": (MATH, "Answer:\n$$\n\\boxed{4}\n$$\n", "4"),
    "an announcement": (MATH, "Thus 4.\nThe answer is 4.", "4"),
    "an announcement before other words": (MATH, "The answer is 4.\nOr is it?", None),
    "a summary below its marker": (DENSE, "1. Long.\n\nFinal summary:\nShort.\nDense.\n", "Short.\nDense."),
    "a summary behind its marker in bold": (DENSE, "**Final summary:** Short.", "Short."),
    "a summary below a heading": (DENSE, "### Final Summary:\n\nShort.", "Short."),
    "the last of two summaries": (DENSE, "Final summary: Long.\n\nFinal summary:\nShort.", "Short."),
    "a summary in a code block": (DENSE, "Final summary:\n```\nShort.\n```", "Short."),
    "a summary in bold": (DENSE, "Final summary:\n**Short.**", "Short."),
    "a count of words after it": (DENSE, "Final summary:\nShort.\n\n*(Word count: 58)*\n\n---", "Short."),
    "words that are counted in it": (DENSE, "Final summary:\nShort.\nIt has 58 words", "Short.\nIt has 58 words"),
    "no final summary": (DENSE, "Summary: Short.", None),
    "an empty final summary": (DENSE, "Summary: Short.\nFinal summary:\n", None),
    "an equation": (MATH, "x = 4", None),
}


@pytest.mark.parametrize("form", FINAL)
def test_a_final_answer_is_what_a_reply_ends_in(form: str) -> None:
    task, text, final = FINAL[form]
    assert find_final(text, task) == final


@given(reasoning=st.text(), label=st.sampled_from(LABELS), after=st.sampled_from(["", "\n", " \n\n"]))
def test_whatever_was_reasoned_before_the_last_line_does_not_matter(reasoning: str, label: str, after: str) -> None:
    assert find_final(f"{reasoning}\nAnswer: {label}{after}", NLI) == label


PIECES = st.sampled_from("Answer:*_`'\"#>\n\\boxed{}[]. \uff1a4x$")


@given(
    text=st.text(PIECES | st.characters()),
    task=st.sampled_from([NLI, QA, MATH, KEPT]),
)
def test_no_reply_raises_and_a_final_answer_is_in_the_reply(text: str, task: Task) -> None:
    final = find_final(text, task)
    if final is not None and task.type != "NLI":
        assert final in text, "a repair only removes what is around it"
    if task.type == "NLI" and final in LABELS:
        assert final in text.casefold()
    assert read_answer(text, KEPT) in (*LABELS, None)


@given(text=st.lists(st.sampled_from(["Final summary:", "**", "\n", "```", "Dense.", " "]) | st.text()).map("".join))
def test_a_final_summary_is_the_end_of_the_reply_without_fences(text: str) -> None:
    final = find_final(text, DENSE)
    if final is not None:
        kept = "\n".join(line for line in text.splitlines() if line.strip("`~ "))
        assert "".join(final.split()) in "".join(kept.split())


@given(answer=st.text(st.sampled_from(string.ascii_letters + string.digits + " _.'-"), min_size=1).filter(str.strip))
def test_a_plain_answer_is_not_changed(answer: str) -> None:
    assert find_final(f"Because.\nAnswer: {answer}", QA) == answer.strip()


INSTRUCTIONS = {
    "NLI": "Before you answer, reason step by step in at most 80 words. Then give your answer in a last line of the "
    "form\nAnswer: the label alone\nand write nothing after it.",
    "Summarization": "First write a summary of about 80 words. Then repeat the following 4 times: name 1 to 3 entities "
    "of the text that the last summary does not have, and rewrite that summary so that it has them too, loses none, "
    "and is not longer. At the end, write a line with\nFinal summary:\nand below it the last summary alone. Write "
    "nothing after it.",
    "Math": "Before you answer, reason step by step. Then give your answer in a last line of the form\n"
    "Answer: the number or expression alone\nand write nothing after it.",
}


@pytest.mark.parametrize("kind", INSTRUCTIONS)
def test_the_teacher_is_asked_in_the_system_message(kind: str) -> None:
    """Whoever changes an instruction raises the schemas of answers and judge."""
    task = DENSE if kind == "Summarization" else Task(type=kind, chain_of_thought=True)
    user = Message("user", "?")
    assert for_teacher(Record("r", (user,)), task).messages == (Message("system", INSTRUCTIONS[kind]), user)
    own = Record("r", (Message("system", "Be kind."), user), ("neutral",))
    whole = Message("system", f"Be kind.\n\n{INSTRUCTIONS[kind]}")
    assert for_teacher(own, task) == Record("r", (whole, user), ("neutral",))
    assert for_student(own, task) == own, "the student learns the answer to the prompt as it is"
    assert for_teacher(own, Task(type=kind)) == own
    if task.chain_of_thought:
        kept = task.model_copy(update={"keep_reasoning": True})
        assert for_student(own, kept) == for_teacher(own, kept)


def test_teacher_and_student_are_asked_for_the_length_of_a_summary() -> None:
    record = Record("r", (Message("user", "?"),))
    limited = Task(type="Summarization", max_summary_words=60)
    asked = Record("r", (Message("system", "Write a summary of at most 60 words."), Message("user", "?")))
    assert for_teacher(record, limited) == for_student(record, limited) == asked
    dense = limited.model_copy(update={"chain_of_density": True})
    assert for_student(record, dense) == asked
    assert "First write a summary of at most 60 words." in for_teacher(record, dense).messages[0].content


def test_every_task_that_may_reason_has_a_final_answer_and_no_other() -> None:
    assert {name for name, task in TASKS.items() if task.final_answer} == set(REASONED)


def answered(text: str, finish: str = "stop") -> AnsweredRecord:
    return AnsweredRecord(Record("r", (Message("user", "?"),)), 0, Answer("key", (Turn((1,), (2, 3), text, finish),)))


TARGETS = {
    "a final answer": (NLI, answered("So.\nAnswer: Neutral."), Turn((), (), "neutral", "stop")),
    "with its reasoning": (KEPT, answered("So.\nanswer: Neutral"), Turn((1,), (2, 3), "So.\nanswer: Neutral", "stop")),
    "none": (NLI, answered("So."), Turn((1,), (2, 3), "So.", NO_FINAL_ANSWER)),
    "none with reasoning": (KEPT, answered("So."), Turn((1,), (2, 3), "So.", NO_FINAL_ANSWER)),
    "a summary": (DENSE, answered("Long.\nFinal summary:\nShort."), Turn((), (), "Short.", "stop")),
    "cut off": (NLI, answered("Answer: neutral", "length"), Turn((1,), (2, 3), "Answer: neutral", "length")),
    "empty": (NLI, answered(" "), Turn((1,), (2, 3), " ", "stop")),
}


@pytest.mark.parametrize("case", TARGETS)
def test_a_target_is_the_final_answer_or_the_whole_reply(case: str) -> None:
    task, given_answer, turn = TARGETS[case]
    target = to_target(given_answer, task)
    assert target.answer == Answer("key", (turn,))
    assert target.record == for_student(given_answer.record, task)


def test_other_jobs_have_the_replies_as_they_are() -> None:
    assert to_target(answered("So."), Task(type="NLI")) == answered("So.")


@pytest.mark.parametrize("task", [Task(type="NLI"), NLI, KEPT])
def test_a_target_has_the_teacher_of_its_answer(task: Task) -> None:
    assert to_target(replace(answered("Answer: neutral"), teacher="large"), task).teacher == "large"
