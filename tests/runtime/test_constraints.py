"""Structured output: which job forces replies into which form, what is refused, and what enters keys."""

import json
from typing import Any

import pytest

from kubedistill.errors import InvalidManifest
from kubedistill_runtime.serving.engine import Constraint
from support.job_folder import JobFolder
from support.messages import CheckMessage

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
TEXT = {"type": "Text"}
ENDPOINT = {"name": "main", "endpoint": {"model": "large"}}


@pytest.mark.parametrize(
    ("task", "constraint"),
    [
        ({"type": "Classification", "labels": ["yes", "no"]}, Constraint(choices=("yes", "no"))),
        ({"type": "NLI"}, Constraint(choices=("entailment", "neutral", "contradiction"))),
        ({**TEXT, "answer": {"labels": ["a", "b"]}}, Constraint(choices=("a", "b"))),
        ({**TEXT, "answer": {"regex": "[a-z]+"}}, Constraint(regex="[a-z]+")),
        ({**TEXT, "answer": {"regex": r"^\d+\.\\A$"}}, Constraint(regex=r"^\d+\.\\A$")),
        (
            {**TEXT, "answer": {"jsonSchema": SCHEMA}},
            Constraint(json_schema='{"properties":{"n":{"type":"integer"}},"type":"object"}'),
        ),
    ],
)
def test_replies_are_forced_into_the_form_of_the_task(
    task: dict[str, Any], constraint: Constraint, job_folder: JobFolder
) -> None:
    job_folder.spec["task"] = task
    free = job_folder.resolve()
    assert (free.sampling.constraint, free.judge_sampling.constraint) == (None, None), "only if it is asked for"
    job_folder.set("generation.structuredOutput", True)
    found = job_folder.resolve()
    assert (found.sampling.constraint, found.judge_sampling.constraint) == (constraint, constraint)
    assert (found.k, found.objective) == (0, "Sequence")
    assert "structuredOutput" in found.objective_reason
    changed = {name for name in free.keys if free.keys[name] != found.keys[name]}
    assert changed == free.keys.keys() - {"rows"}


def test_properties_are_written_in_the_order_of_those_that_are_required(job_folder: JobFolder) -> None:
    """A model that must write its verdict before its reasons has none: Kubernetes keeps the order of lists alone."""
    part = {"type": "object", "properties": {"b": {"const": 1.0}, "a": {"enum": ["ü"]}}, "required": ["b", "a"]}
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}, "reasons": {"items": part}, "also": True},
        "required": ["reasons", "answer", "gone"],
    }
    job_folder.spec["task"] = {**TEXT, "answer": {"jsonSchema": schema}}
    job_folder.set("generation.structuredOutput", True)
    constraint = job_folder.resolve().sampling.constraint
    assert constraint is not None
    assert constraint.json_schema is not None
    written = json.loads(constraint.json_schema)
    assert written == schema
    assert list(written["properties"]) == ["reasons", "answer", "also"]
    assert list(written["properties"]["reasons"]["items"]["properties"]) == ["b", "a"]


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no form": ({"task": TEXT}, "spec.generation.structuredOutput", "no form"),
    "free text": ({"task": {"type": "QA"}}, "spec.generation.structuredOutput", "QA"),
    "reasoning": ({"task.chainOfThought": True}, "spec.generation.structuredOutput", "reasons"),
    "distributions": ({"generation.topLogprobs": 8}, "spec.generation.topLogprobs", "8"),
    "CachedLogits": ({"training.objective.type": "CachedLogits"}, "spec.training.objective.type", "structuredOutput"),
    "labels of an endpoint": ({"teachers.0": ENDPOINT}, "spec.generation.structuredOutput", "jsonSchema"),
    "an anchor": (
        {"task": {**TEXT, "answer": {"regex": r"\A[0-9]{3}\z"}}},
        "spec.generation.structuredOutput",
        "A",
    ),
    "a class by its name": (
        {"task": {**TEXT, "answer": {"regex": r"\\d[^[:space:]]+"}}},
        "spec.generation.structuredOutput",
        "[:space:]",
    ),
    **{
        f"{name} of a schema": (
            {"task": {**TEXT, "answer": {"jsonSchema": schema}}},
            "spec.generation.structuredOutput",
            word,
        )
        for name, schema, word in (
            ("an anchor", {"properties": {"id": {"type": "string", "pattern": r"\A[0-9]{3}\Z"}}}, "A"),
            ("a look-ahead", {"items": [{"anyOf": [{"pattern": "^(?=a)[a-z]+$"}]}]}, "pattern"),
            ("a pattern of names", {"patternProperties": {r"\\\Zx": True}}, "Z"),
        )
    },
    "Anthropic": (
        {
            "task": {**TEXT, "answer": {"jsonSchema": SCHEMA}},
            "teachers.0": {"name": "main", "endpoint": {"model": "large", "api": "Anthropic"}},
        },
        "spec.generation.structuredOutput",
        "Anthropic",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_forced_is_refused(case: str, job_folder: JobFolder, check_message: CheckMessage) -> None:
    edits, at, word = REFUSED[case]
    job_folder.set("generation.structuredOutput", True)
    for path, value in edits.items():
        job_folder.set(path, value)
    with pytest.raises(InvalidManifest) as refused:
        job_folder.resolve()
    assert refused.value.at == at
    check_message(refused.value, at, word)


def test_patterns_that_engines_read_alike_are_allowed(job_folder: JobFolder) -> None:
    schema = {
        "type": "object",
        "properties": {"pattern": {"pattern": r"^\\A(?:a|b)\(\?=$"}, "also": {"const": {"pattern": r"\A"}}},
    }
    job_folder.spec["task"] = {**TEXT, "answer": {"jsonSchema": schema}}
    job_folder.set("generation.structuredOutput", True)
    assert job_folder.resolve().sampling.constraint is not None


def test_a_schema_at_an_endpoint_is_a_form(job_folder: JobFolder) -> None:
    job_folder.spec["task"] = {**TEXT, "answer": {"jsonSchema": SCHEMA}}
    job_folder.spec["teachers"] = [ENDPOINT]
    job_folder.set("generation.structuredOutput", True)
    assert job_folder.resolve().sampling.constraint is not None
