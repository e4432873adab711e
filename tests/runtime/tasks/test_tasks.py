"""Tasks: how each kind reads an answer, and which roles its records may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill_runtime.evaluation.metrics import METRICS
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.tasks import TASKS

LABELS = ("billing.ask", "Straße")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("billing.ask", "billing.ask"),
        (" Billing.ASK\n", "billing.ask"),
        ("STRASSE", "Straße"),
        ("billing", None),
        ("billing.ask.", None),
        ("the label is billing.ask", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("task", ["Classification", "NLI"])
def test_a_label_is_read_whatever_its_case_and_nothing_else_is(task: str, text: str, label: str | None) -> None:
    assert TASKS[task].parse(text, TaskSpec(type=task, labels=LABELS)) == label


@pytest.mark.parametrize(("text", "answer"), [(" Paris \n", "Paris"), (" \n", None), ("", None)])
@pytest.mark.parametrize("task", ["QA", "Conversation", "Summarization", "Text"])
def test_free_text_is_read_without_its_margins(task: str, text: str, answer: str | None) -> None:
    assert TASKS[task].parse(text, TaskSpec(type=task)) == answer


SPECS = {
    **{kind: TaskSpec(type=kind) for kind in ("NLI", "Conversation", "QA", "Math", "Summarization", "Text")},
    "Classification": TaskSpec(type="Classification", labels=LABELS),
}


@pytest.mark.parametrize("task", TASKS)
@given(text=st.text() | st.text('aeilnrtuo ENTAILMENT.:*`"{}[]\\\n0123'))
def test_any_text_is_an_answer_or_none_and_an_answer_reads_as_itself(task: str, text: str) -> None:
    spec = SPECS[task]
    found = TASKS[task].parse(text, spec)
    if found is None or task == "Math":  # test_math.py has what holds for final answers
        return
    assert TASKS[task].parse(found, spec) == found
    assert found in text or found in spec.answer_labels, "nothing is added"


SINGLE, MULTI = ("Classification", "NLI", "QA", "Math", "Summarization", "Text"), ("Conversation",)
ROLES = {
    "u": (*SINGLE, *MULTI), "su": (*SINGLE, *MULTI), "ua": MULTI, "uau": MULTI, "suauaua": MULTI,
    "": (), "s": (), "a": (), "sa": (), "uu": (), "au": (), "us": (), "ssu": (), "uaa": (), "usau": (),
}  # fmt: skip
NAMES = {"s": "system", "u": "user", "a": "assistant"}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("roles", ROLES)
def test_roles_are_those_that_the_task_takes(roles: str, task: str) -> None:
    record = Record("r", tuple(Message(NAMES[role], "text") for role in roles))
    problem = TASKS[task].check(record)
    if task in ROLES[roles]:
        assert problem is None
    else:
        assert problem is not None
        assert problem.startswith(f"the roles are {', '.join(NAMES[role] for role in roles[:6]) or 'none'}")


def test_every_task_of_the_manifest_is_there_and_is_judged_by_metrics_that_are() -> None:
    types = TaskSpec.model_fields["type"].annotation
    assert set(getattr(types, "__args__", ())) == TASKS.keys()
    assert {metric for task in TASKS.values() for metric in task.metrics} <= set(METRICS)
