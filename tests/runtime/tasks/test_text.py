"""Text: which answers are valid by the manifest's form, and that references must be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.v1alpha1 import Task
from kubedistill.v1alpha1.task import AnswerForm
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.tasks import TASKS

TEXT = TASKS["Text"]


def spec(**form: Any) -> Task:
    return Task(type="Text", answer=AnswerForm(**form) if form else None)


FORMS = {
    "any": spec(),
    "regex": spec(regex="[A-Z]{2}[0-9]+|none"),
    "labels": spec(labels=("Straße", "no")),
    "schema": spec(json_schema={"type": "array", "items": {"type": "integer"}}),
}


@pytest.mark.parametrize(
    ("form", "text", "answer"),
    [
        ("any", " a b\n", "a b"),
        ("any", " \n", None),
        ("regex", " AB12\n", "AB12"),
        ("regex", "none", "none"),
        ("regex", "AB12.", None),
        ("regex", "the code is AB12", None),
        ("regex", "AB12\nAB13", None),
        ("regex", "", None),
        ("labels", "STRASSE ", "Straße"),
        ("labels", "No", "no"),
        ("labels", "no.", None),
        ("schema", " [1, 2]\n", "[1, 2]"),
        ("schema", "[1, 2.5]", None),
        ("schema", "```\n[1, 2]\n```", None),
        ("schema", "1, 2", None),
    ],
)
def test_an_answer_is_valid_as_a_whole_or_not_at_all(form: str, text: str, answer: str | None) -> None:
    assert TEXT.parse(text, FORMS[form]) == answer


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text())
def test_an_answer_is_read_as_it_is_or_not_at_all(form: str, text: str) -> None:
    found = TEXT.parse(text, FORMS[form])
    assert found in (None, text.strip()) or (form == "labels" and found in ("Straße", "no"))
    if found is not None:
        assert TEXT.parse(found, FORMS[form]) == found


@pytest.mark.parametrize(
    ("form", "references", "refused"),
    [
        ("regex", ("AB12",), None),
        ("regex", ("AB12", "ab12"), "ab12"),
        ("schema", ("[1]",), None),
        ("schema", ("1",), "1"),
        ("schema", (), None),
        ("any", ("whatever",), None),
    ],
)
def test_a_reference_must_be_a_valid_answer(form: str, references: tuple[str, ...], refused: str | None) -> None:
    check = TEXT.check_references
    assert check is not None
    problem = check(Record("r", (Message("user", "?"),), references), FORMS[form])
    assert (problem is None) == (refused is None)
    assert refused is None or repr(refused) in str(problem)
