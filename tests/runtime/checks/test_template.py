"""Templates of prompts: what they write, what they may not have, and that each takes little time and memory."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill.v1alpha1 import Task
from kubedistill.v1alpha1.task import AnswerForm
from kubedistill_runtime.checks.data import DataFile, read_records
from kubedistill_runtime.checks.template import compile_template
from kubedistill_runtime.records import Message
from support.messages import CheckMessage

RECORD = {
    "q": "Why?", "n": 3, "x": 0.5, "flag": True, "tags": ["a", "b"], "keys": {"items": "I", "upper": "U"},
    "turns": [{"role": "user", "text": "Hi"}, {"role": "bot", "text": "Ho"}], "empty": [], "html": "<b>'\"&",
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("{{ q }}", "Why?"),
        ("{{ q }}\n", "Why?"),
        ("{{ html }}", "<b>'\"&"),
        ("{{ n }} {{ x }} {{ n + 1 }}", "3 0.5 4"),
        ("{% for turn in turns %}\n{{ loop.index }}. {{ turn.text }}\n{% endfor %}\n", "1. Hi\n2. Ho\n"),
        ("{% if n > 2 and flag %}many{% else %}few{% endif %}", "many"),
        ("{{ 'yes' if 'a' in tags else 'no' }}", "yes"),
        ("{{ tags | join(', ') }}", "a, b"),
        ("{{ keys.items }}{{ keys['upper'] }}", "IU"),
        ("{% for key, value in keys | items %}{{ key }}={{ value }};{% endfor %}", "items=I;upper=U;"),
        ("{{ turns[0].text }} {{ turns[-1]['text'] }} {{ q[:2] }}", "Hi Ho Wh"),
        ("{{ keys | tojson }} {{ flag | tojson }}", '{"items": "I", "upper": "U"} true'),
        ("{{ other | default('-') }}", "-"),
        ("{% if other is defined %}{{ other }}{% else %}nothing{% endif %}", "nothing"),
        ("{# a comment #}{% raw %}{{ q }}{% endraw %}", "{{ q }}"),
        ("{{ q | upper | lower | trim | length }}", "4"),
    ],
)  # fmt: skip
def test_a_template_writes_the_values_of_a_record(template: str, prompt: str) -> None:
    assert compile_template(template).render(RECORD) == prompt


FAILS = {
    "a key that is missing": ("{{ other }}", "'other' is undefined"),
    "a key below it": ("{{ keys.none }}", "none"),
    "a method": ("{{ q.upper }}", "upper"),
    "an attribute of Python": ("{{ q.__class__ }}", "__class__"),
    "an attribute by name": ("{{ q['__class__'] }}", "__class__"),
    "a place that is not there": ("{{ tags[5] }}", "5"),
    "a boolean": ("{{ flag }}", "true or false"),
    "a list": ("{{ tags }}", "tojson"),
    "a boolean in a list": ("{{ [flag] | join }}", "true or false"),
    "a list as text": ("{{ tags | upper }}", "upper"),
    "words as a number": ("{{ q | int }}", "Why?"),
    "words in a comparison": ("{% if q > 1 %}a{% endif %}", "not supported"),
    "the first of nothing": ("{{ empty | first }}", "empty"),
    "a blank prompt": (" {% if n == 0 %}a{% endif %}\n", "blank"),
    "a loop over a number": ("{% for one in n %}a{% endfor %}", "not iterable"),
}


@pytest.mark.parametrize("case", FAILS)
def test_a_template_that_has_no_prompt_for_a_record_says_why(case: str) -> None:
    template, cause = FAILS[case]
    with pytest.raises(ValueError, match=r".+") as failed:
        compile_template(template).render(RECORD)
    assert cause in str(failed.value)


REFUSED = {
    "a call": ("{{ q.upper() }}", "call"),
    "a range": ("{% for one in range(9) %}{% endfor %}", "call"),
    "an assignment": ("{% set a = q ~ q %}", "assign"),
    "a product": ("{{ q * 9 }}", "mul"),
    "a power": ("{{ 9 ** 9 }}", "pow"),
    "a format": ("{{ '%9d' % n }}", "mod"),
    "a macro": ("{% macro a() %}{% endmacro %}", "macro"),
    "a file": ("{% include 'a' %}", "include"),
    "a parent": ("{% extends 'a' %}", "extends"),
    "a recursive loop": ("{% for a in turns recursive %}{% endfor %}", "recursive"),
    "an unknown filter": ("{{ q | nosuch }}", "filters"),
    "a filter that pads": ("{{ q | center(100) }}", "filters"),
    "an argument that grows": ("{{ tags | join(q) }}", "constants"),
    "filters in a row": ("{{ q" + " | tojson" * 9 + " }}", "filters"),
    "filters in filters": ("{{ [[q" + " | tojson" * 4 + "]" + " | tojson" * 4 + "] | tojson }}", "filters"),
    "an unknown test": ("{{ n is divisibleby 3 }}", "tests"),
    "no end": ("{{ q", "unexpected end"),
    "an unknown tag": ("{% nosuch %}", "nosuch"),
    "the right answer": ("{{ reference }}", "reference"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_template_has_only_what_takes_little(case: str) -> None:
    template, word = REFUSED[case]
    with pytest.raises(InvalidManifest) as refused:
        compile_template(template)
    assert refused.value.at == "spec.task.prompt"
    assert word in refused.value.problem


def test_an_error_names_the_line(check_message: CheckMessage) -> None:
    with pytest.raises(InvalidManifest) as refused:
        compile_template("Answer:\n\n{{ q.upper() }}")
    check_message(refused.value, "spec.task.prompt", "line 3")


def test_loops_and_prompts_have_an_end() -> None:
    began = time.process_time()
    many = {"xs": list(range(5000)), "text": "x" * 2000}
    loops = compile_template("{% for a in xs %}" * 5 + "{% endfor %}" * 5)
    with pytest.raises(ValueError, match="10,000 rounds"):
        loops.render(many)
    long = compile_template("{% for a in xs %}{{ text }}{% endfor %}")
    with pytest.raises(ValueError, match="1,000,000 characters"):
        long.render(many)
    assert time.process_time() - began < 10


PIECES = st.sampled_from(
    ["{{ ", " }}", "{% if ", "{% for a in ", " %}", "{% endif %}", "{% endfor %}", "q", "n", "tags", "keys", ".items",
     "[0]", "[1:]", " | tojson", " | upper", " | first", " | int", " | sort", " ~ ", " + ", "loop", "self", "'x'", "1"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=20))
def test_any_string_is_a_template_or_refused_and_has_a_prompt_or_fails(text: str) -> None:
    try:
        template = compile_template(text)
    except InvalidManifest:
        return
    try:
        assert template.render(RECORD).strip()
    except ValueError:
        return


def read(tmp_path: Path, *records: Any, **task: Any) -> DataFile:
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    return read_records(path, split="train", task=Task(type="Text", **task), answers="Teacher")


def test_a_record_needs_only_the_keys_of_the_template(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {"question": "Why?", "system": "Be kind.", "id": "a", "tags": ["t"], "reference": "So.", "label": "1", "x": 2},
        prompt="Q: {{ question }}\n",
    )  # fmt: skip
    (record,) = found.records
    assert record.messages == (Message("system", "Be kind."), Message("user", "Q: Why?"))
    assert (record.id, record.tags, record.references) == ("a", ("t",), ("So.",))
    assert found.notes == ("1 of 1 records: the key 'label' is not read", "1 of 1 records: the key 'x' is not read")


def test_the_keys_of_other_formats_are_values_too(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {"prompt": "p", "messages": [{"role": "user", "content": "m"}], "context": "c"},
        prompt="{{ prompt }}{{ messages[0].content }}{{ context }}",
        system_prompt="Be brief.",
    )
    assert [one.content for one in found.records[0].messages] == ["Be brief.", "pmc"]
    assert found.notes == ()


def test_without_a_template_a_record_has_its_own_prompt(tmp_path: Path) -> None:
    (record,) = read(tmp_path, {"prompt": "p", "completion": "r"}).records
    assert (record.messages, record.references) == ((Message("user", "p"),), ("r",))


@pytest.mark.parametrize(
    ("record", "place"),
    [
        ({"question": None}, "'question' is undefined"),
        ({}, "'question' is undefined"),
        ({"question": " "}, "the prompt is blank"),
        ({"question": "a", "referense": "b"}, "'reference'"),
        ({"question": "\ud800"}, "surrogate"),
        ({"question": ["a"]}, "tojson"),
    ],
)
def test_a_record_without_a_prompt_is_refused_with_its_line(record: Any, place: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData) as refused:
        read(tmp_path, {"question": "a"}, record, prompt="{{ question }}")
    assert refused.value.at == f"{tmp_path / 'train.jsonl'}:2"
    assert place in str(refused.value)


def test_a_reference_of_a_schema_may_be_an_object(tmp_path: Path, check_message: CheckMessage) -> None:
    form = AnswerForm(json_schema={"type": "object", "required": ["b"]})
    found = read(
        tmp_path, {"prompt": "p", "reference": {"b": "é", "a": 1}}, {"prompt": "q", "reference": ['{"b":2}', {"b": 3}]},
        answer=form,
    )  # fmt: skip
    assert [one.references for one in found.records] == [('{"b": "é", "a": 1}',), ('{"b":2}', '{"b": 3}')]
    with pytest.raises(InvalidData) as refused:
        read(tmp_path, {"prompt": "p", "reference": {"a": 1}}, answer=form)
    check_message(refused.value, "train.jsonl:1", '{"a": 1}', "spec.task.answer")


def test_the_labels_of_an_answer_are_those_of_references(tmp_path: Path) -> None:
    (record,) = read(tmp_path, {"prompt": "p", "reference": "YES"}, answer=AnswerForm(labels=("yes", "no"))).records
    assert record.references == ("yes",)
