"""The resource models: what a DistillationJob may hold, what is filled in, and what identifies it."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy
from pydantic import ValidationError

from kubedistill.canonical import canonical_json, digest
from kubedistill.v1alpha1 import (
    Budget,
    DistillationJob,
    Metadata,
    Spec,
    Status,
    Task,
    Teacher,
    TeacherModel,
    find_label,
    label_key,
    spec_values,
)

Path = tuple[str | int, ...]


def read(values: dict) -> DistillationJob:
    return DistillationJob.model_validate_json(json.dumps(values))


def read_spec(values: dict) -> Spec:
    return Spec.model_validate_json(json.dumps(values))


def put(values: Any, path: Path, value: Any) -> None:
    """Write a value at a path, and the mappings that are missing on the way."""
    *parents, last = path
    for part in parents:
        values = values.setdefault(part, {}) if isinstance(values, dict) else values[part]
    values[last] = value


def problem_with(values: dict) -> str:
    with pytest.raises(ValidationError) as caught:
        read(values)
    # A list whose item is bad is said to be too short as well.
    error = max(caught.value.errors(), key=lambda one: len(one["loc"]))
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


TASK: Path = ("spec", "task")
MODEL: Path = ("spec", "teachers", 0, "model")
TRAINING: Path = ("spec", "training")
ONE_SOURCE = "Value error, exactly one of uri and configMapKeyRef must be set"
REFERENCE = {"name": "prompts", "key": "train.jsonl"}

REFUSED: dict[str, tuple[Path, Any, str]] = {
    "a Classification without labels": (TASK, {"type": "Classification"}, "spec.task: Value error, labels is required"),
    "a template of another task": (TASK, {"type": "QA", "prompt": "{{ a }}"}, "spec.task: Value error, prompt and"),
    "an answer of another task": (TASK, {"type": "Math", "answer": {"regex": "a"}}, "spec.task: Value error, prompt"),
    "labels without a form": (TASK, {"type": "Text", "labels": ["a", "b"]}, "spec.task: Value error, labels are"),
    "no form": (TASK, {"type": "Text", "answer": {}}, "spec.task.answer: Value error, exactly one of regex"),
    "two forms": (TASK, {"type": "Text", "answer": {"regex": "a", "labels": ["a", "b"]}},
                  "spec.task.answer: Value error, exactly one of regex"),
    "look-ahead": (TASK, {"type": "Text", "answer": {"regex": "(?=a)"}},
                   "spec.task.answer.regex: Value error, not a regular expression"),
    "a form of equal labels": (TASK, {"type": "Text", "answer": {"labels": ["a", "A"]}},
                               "spec.task.answer: Value error, labels contains the same label twice"),
    "a large schema": (TASK, {"type": "Text", "answer": {"jsonSchema": {"const": "x" * 40_000}}},
                       "spec.task.answer.jsonSchema: Value error, it has 40,012 bytes"),
    "a schema that is not an object": (TASK, {"type": "Text", "answer": {"jsonSchema": True}},
                                   "spec.task.answer.jsonSchema: Input should be"),
    "labels of a free text": (TASK, {"type": "QA", "labels": ["a", "b"]}, "spec.task: Value error, labels are only"),
    "a label twice": ((*TASK, "labels"), ["a", "b", "a"], "spec.task: Value error, labels contains the same label"),
    "labels that differ in case": ((*TASK, "labels"), ["Yes", "no", "yes"],
                                   "spec.task: Value error, labels contains the same label twice, as 'Yes' and 'yes'"),
    "labels that differ in their Unicode form": ((*TASK, "labels"), ["caf\u00e9", "cafe\u0301"],
                                                 "spec.task: Value error, labels contains the same label twice"),
    "labels that fold to one": ((*TASK, "labels"), ["Stra\u00dfe", "STRASSE"],
                                "spec.task: Value error, labels contains the same label twice"),
    "a label with a space at its start": ((*TASK, "labels"), [" billing", "delivery"],
                                          "spec.task: Value error, labels contains a label with leading"),
    "a label with a line break at its end": ((*TASK, "labels"), ["billing\n", "delivery"],
                                             "spec.task.labels.0: String should be one line without control char"),
    "a label that is all space": ((*TASK, "labels"), ["\u00a0", "delivery"],
                                  "spec.task: Value error, labels contains a label with leading"),
    "labels of NLI that differ in case": (TASK, {"type": "NLI", "labels": ["A", "a"]},
                                          "spec.task: Value error, labels contains the same label twice"),
    "one label": ((*TASK, "labels"), ["a"], "spec.task.labels: Tuple should have at least 2 items"),
    "an empty label": ((*TASK, "labels"), ["a", ""], "spec.task.labels.1: String should have at least 1 character"),
    "no source": (("spec", "data", "train"), {}, f"spec.data.train: {ONE_SOURCE}"),
    "two sources": (("spec", "data", "test"), {"uri": "a", "configMapKeyRef": REFERENCE},
                    f"spec.data.test: {ONE_SOURCE}"),
    "a softened loss": ((*TRAINING, "objective"), {"temperature": 2}, "spec.training.objective: Value error, temp"),
    "a broken URI": ((*MODEL, "source"), "hf://[", "spec.teachers.0.model.source: Value error, neither a path nor"),
    "an empty URI": ((*MODEL, "source"), "", "spec.teachers.0.model.source: String should have at least 1 character"),
    "no teacher": (("spec", "teachers"), [], "spec.teachers: Tuple should have at least 1 item"),
    "nine exports": (("spec", "export"), [{}] * 9, "spec.export: Tuple should have at most 8 items"),
    "one beta": ((*TRAINING, "optimizer"), {"betas": [0.9]}, "spec.training.optimizer.betas: Tuple should have at"),
    "a long name": (("metadata", "name"), "a" * 33, "metadata.name: String should have at most 32 characters"),
    "a name with a dot": (("metadata", "name"), "a.b", "metadata.name: String should match pattern"),
    "a name that ends in a dash": (("metadata", "name"), "a-", "metadata.name: String should match pattern"),
    "a name that begins with a digit": (("metadata", "name"), "7b", "metadata.name: String should match pattern"),
    "a namespace that is a path": (("metadata", "namespace"), "../..", "metadata.namespace: String should match"),
    "a budget without a limit": (("spec", "budget"), {}, "spec.budget: Value error, a budget has dollars, gpuHours"),
    "a budget of nothing": (("spec", "budget"), {"gpuHours": 0}, "spec.budget.gpuHours: Input should be greater than"),
    "a queue without a name": (("spec", "queue"), {"name": "Team A"}, "spec.queue.name: String should match pattern"),
    "a queue too long for a label": (("spec", "queue"), {"name": "a" * 64}, "spec.queue.name: String should have at"),
    "a secret that is not a name": (("spec", "pods"), {"envFromSecrets": ["my_token"]},
                                 "spec.pods.envFromSecrets.0: String should match pattern"),
    "a label that is not valid": (("spec", "pods"), {"labels": {"team": "a b"}},
                                 "spec.pods.labels.team: String should match pattern"),
    "a run with capitals": (("spec", "runID"), "Run", "spec.runID: String should match pattern"),
    "a number as text": ((*TRAINING, "epochs"), "3", "spec.training.epochs: Input should be a valid integer"),
    "a number with a dot": ((*TRAINING, "epochs"), 3.0, "spec.training.epochs: Input should be a valid integer"),
    "true for a number": ((*TRAINING, "epochs"), True, "spec.training.epochs: Input should be a valid integer"),
    "true for a fraction": ((*TRAINING, "objective"), {"ceWeight": True}, "spec.training.objective.ceWeight: Input"),
    "a string for true": ((*MODEL, "trustRemoteCode"), "yes", "spec.teachers.0.model.trustRemoteCode: Input should be"),
    "a number for a string": (("spec", "runID"), 7, "spec.runID: Input should be a valid string"),
    "an escape sequence": ((*MODEL, "source"), "a\x1b[2J", "spec.teachers.0.model.source: String should be one line"),
    "an escape in a string": ((*TASK, "systemPrompt"), "a\x1b[2J", "spec.task.systemPrompt: String should have"),
    "reasoning in a conversation": (("spec", "task"), {"type": "Conversation", "chainOfThought": True},
                                    "spec.task: Value error, chainOfThought is only for"),
    "a truth for a string": ((*MODEL, "chatTemplateKwargs"), {"enable_thinking": True},
                             "spec.teachers.0.model.chatTemplateKwargs.enable_thinking: Input should be"),
    "a length of summaries that no one writes": (("spec", "task"), {"type": "QA", "maxSummaryWords": 80},
                                                 "spec.task: Value error, maxSummaryWords and chainOfDensity"),
    "density without a summary": (("spec", "task"), {"type": "QA", "chainOfDensity": True},
                                  "spec.task: Value error, maxSummaryWords and chainOfDensity"),
    "a path for a ConfigMap": (("spec", "data", "test"), {"configMapKeyRef": {"name": "../../etc", "key": "a"}},
                               "spec.data.test.configMapKeyRef.name: String should be the name of an object"),
    "a path for a key": (("spec", "data", "test"), {"configMapKeyRef": {"name": "a", "key": "../a"}},
                         "spec.data.test.configMapKeyRef.key: String should be a key of a ConfigMap"),
    "a path for a claim": (("spec", "storage"), {"volumeClaim": "a/b"},
                           "spec.storage.volumeClaim: String should be the name of an object"),
    "an infinite number": ((*TRAINING, "optimizer"), {"weightDecay": float("inf")},
                           "spec.training.optimizer.weightDecay: Input should be a finite number"),
    "an unknown field": ((*TRAINING, "epoch"), 3, "spec.training.epoch: Extra inputs are not permitted"),
    "an unknown choice": ((*TRAINING, "precision"), "bf16", "spec.training.precision: Input should be 'Auto', 'BF16'"),
    "another kind": (("kind",), "Job", "kind: Input should be 'DistillationJob'"),
    "another version": (("apiVersion",), "kubedistill.io/v1", "apiVersion: Input should be 'kubedistill.io/v1alpha1'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_value_is_refused_at_its_path(case: str, job_values: dict) -> None:
    path, value, problem = REFUSED[case]
    put(job_values, path, value)
    assert problem_with(job_values).startswith(problem)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "name"), "a" * 32),
        (("metadata", "labels"), {"team": "a"}),
        (("spec", "queue"), {"name": "team-a.gpu"}),
        (("spec", "pods"), {"labels": {"team": "", "cost/centre": "A_1.x"}, "serviceAccountName": "a.b-c"}),
        (("spec", "task"), {"type": "NLI"}),
        (("spec", "task"), {"type": "Text"}),
        (("spec", "task"), {"type": "Text", "prompt": "{{ a }}\n", "answer": {"jsonSchema": {"enum": ["a", None]}}}),
        (("spec", "task"), {"type": "NLI", "labels": ["yes", "no"]}),
        (("spec", "data", "train"), {"configMapKeyRef": REFERENCE, "answers": "Given"}),
        (("spec", "export"), []),
        (("spec", "task"), {"type": "QA", "chainOfThought": True, "keepReasoning": True}),
        (("spec", "task"), {"type": "Conversation", "chainOfThought": False}),
        (("spec", "task"), {"type": "QA", "systemPrompt": "a\n\tb\n"}),
        (("spec", "pods"), {"annotations": {"a": "b: |\n\tc\n"}}),
        (("spec", "data", "test"), {"configMapKeyRef": {"name": "a.b-c", "key": "._A-1.jsonl"}}),
        (("spec", "generation"), {"temperature": 0, "topLogprobs": 0}),
        (("status",), {"phase": "Training", "fieldOfANewerOperator": 1}),
    ],
)
def test_value_is_taken(path: Path, value: Any, job_values: dict) -> None:
    put(job_values, path, value)
    read(job_values)


DEFAULTS = {
    "generation": {
        "routing": "Weighted",
        "temperature": None, "topP": 1.0, "maxTokens": 1024, "samplesPerPrompt": 1, "topLogprobs": None,
        "structuredOutput": False, "seed": 0, "minSuccessRatio": 0.7,
    },
    "curation": {
        "filters": {
            "format": True, "refusal": None, "language": True, "length": True, "repetition": True, "duplicates": True,
            "nearDuplicates": False,
        },
        "select": "All", "traceLength": "Any", "maxShare": None, "minKeepRatio": 0.7,
    },
    "training": {
        "objective": {"type": "Auto", "temperature": 1.0, "ceWeight": None},
        "optimizer": {
            "learningRate": 1e-5, "weightDecay": 0.01, "betas": [0.9, 0.95], "scheduler": "Cosine",
            "warmupRatio": 0.03, "maxGradNorm": 1.0,
        },
        "epochs": 3, "maxSteps": None, "globalBatchSize": 16, "microBatchSize": None, "maxLength": None,
        "precision": "Auto", "seed": 0, "validation": {"everySteps": None, "patience": 3, "keepBest": True},
        "checkpoint": {"everyMinutes": 10, "keepLast": 2},
    },
    "evaluation": {
        "sampleLimit": None,
        "answerComparison": "Default",
        "gate": {
            "minAccuracy": None, "minGain": None, "minGapClosed": None, "minRetention": None, "maxLatencyRatio": None,
            "maxInvalidRate": None, "requireSignificance": True,
        },
    },
    "export": [{"format": "Safetensors", "uri": None}],
    "storage": {"uri": None, "volumeClaim": None},
    "modelCache": None,
    "runID": None,
    "budget": None,
}  # fmt: skip


def test_dollars_need_prices_of_each_endpoint(job_values: dict) -> None:
    job_values["spec"]["budget"] = {"dollars": 5}
    assert read(job_values).spec.budget == Budget(dollars=5), "a teacher that the job serves has its pool's price"
    endpoint = {"model": "large"}
    job_values["spec"]["teachers"].append({"name": "other", "endpoint": endpoint})
    problem = problem_with(job_values)
    assert problem.startswith("spec: Value error, budget.dollars needs prices of each endpoint; Set spec.teachers[1]")
    job_values["spec"]["teachers"][1]["endpoint"] = {**endpoint, "prices": {"input": 0, "output": 1}}
    assert read(job_values).spec.budget is not None


def test_defaults_are_those_of_the_reference(job_values: dict) -> None:
    spec = read(job_values).spec.model_dump(mode="json", by_alias=True)
    assert {name: spec[name] for name in DEFAULTS} == DEFAULTS
    assert spec["teachers"] == [
        {
            "name": "main",
            "resources": {"pool": None, "replicas": 1},
            "endpoint": None,
            "match": None,
            "weight": 1,
            "model": {
                "source": "teacher",
                "revision": None,
                "maxModelLen": None,
                "dtype": "Auto",
                "quantization": None,
                "kvCacheDtype": None,
                "tensorParallelSize": 1,
                "pipelineParallelSize": 1,
                "expertParallel": False,
                "gpuMemoryUtilization": None,
                "engineArgs": {},
                "trustRemoteCode": False,
                "chatTemplateKwargs": {},
            },
        }
    ]
    assert spec["student"] == {
        "model": {"source": "student", "revision": None, "trustRemoteCode": False},
        "resources": {"pool": None, "workers": 1, "gpusPerWorker": 0},
    }
    assert spec["data"]["train"]["answers"] == "Teacher"


def test_models_can_be_built_with_the_names_of_python() -> None:
    teacher = Teacher(name="main", model=TeacherModel(source="t", max_model_len=128))
    assert teacher.model_dump(mode="json", by_alias=True)["model"]["maxModelLen"] == 128


def test_models_are_frozen(job_values: dict) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read(job_values).spec.training.epochs = 5


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ({"type": "Classification", "labels": ["a", "b"]}, ("a", "b")),
        ({"type": "NLI"}, ("entailment", "neutral", "contradiction")),
        ({"type": "NLI", "labels": ["yes", "no"]}, ("yes", "no")),
        ({"type": "QA"}, ()),
        ({"type": "Conversation"}, ()),
    ],
)
def test_answers_may_be_the_labels_of_the_task(values: dict, labels: tuple[str, ...]) -> None:
    assert Task.model_validate_json(json.dumps(values)).answer_labels == labels


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("device.fix", "device.fix"),
        (" DEVICE.fix\n", "device.fix"),
        ("cafe\u0301", "caf\u00e9"),
        ("CAFE\u0301", "caf\u00e9"),
        ("STRASSE", "Stra\u00dfe"),
        ("\u038c\u03a3\u039f\u03a3", "\u03cc\u03c3\u03bf\u03c2"),
        ("cafe", None),
        ("device", None),
        ("device.fix.", None),
        ("", None),
    ],
)
def test_an_answer_is_the_label_that_it_equals_but_for_case_form_and_space(text: str, label: str | None) -> None:
    assert find_label(text, ("device.fix", "caf\u00e9", "Stra\u00dfe", "\u03cc\u03c3\u03bf\u03c2")) == label


@given(st.text(min_size=1).filter(str.strip))
def test_every_spelling_of_a_label_is_that_label(text: str) -> None:
    label = text.strip()
    for form in ("NFC", "NFD"):
        for spelling in (label, label.casefold(), f"\t{label} \n"):
            assert find_label(unicodedata.normalize(form, spelling), ("another", label)) in (label, "another")
    assert label_key(label_key(label)) == label_key(label)


def test_metadata_has_a_namespace_even_on_one_machine() -> None:
    assert Metadata(name="a").namespace == "default"


def test_status_of_a_newer_operator_is_read() -> None:
    assert Status.model_validate_json('{"phase": "Failed", "new": {}}').phase == "Failed"


def test_spec_values_are_what_was_written(job_values: dict) -> None:
    assert spec_values(read(job_values).spec) == job_values["spec"]


def test_defaults_that_are_written_out_are_left_out(job_values: dict) -> None:
    written = {**job_values["spec"], **without_nulls(DEFAULTS)}
    assert spec_values(read_spec(written)) == job_values["spec"]


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@given(data=st.data())
def test_spec_values_hold_the_whole_spec(data: DataObject, valid_specs: SearchStrategy[dict]) -> None:
    spec = read_spec(data.draw(valid_specs))
    values = spec_values(spec)
    assert read_spec(values) == spec
    assert spec_values(read_spec(values)) == values
    assert "null" not in json.dumps(values)


def test_digest_is_the_same_forever(job_values: dict) -> None:
    assert canonical_json(spec_values(read(job_values).spec)) == (
        b'{"data":{"train":{"uri":"train.jsonl"}},"student":{"model":{"source":"student"}},'
        b'"task":{"labels":["billing","delivery"],"type":"Classification"},'
        b'"teachers":[{"model":{"source":"teacher"},"name":"main"}]}'
    )


SAME = {
    "another order": lambda spec: dict(reversed(spec.items())),
    "an empty part": lambda spec: {**spec, "training": {"optimizer": {}}, "curation": {}},
    "a default": lambda spec: {**spec, "training": {"epochs": 3}},
    "a default as a whole number": lambda spec: {**spec, "generation": {"topP": 1}},
    "a null": lambda spec: {**spec, "runID": None},
    "the export that is there anyway": lambda spec: {**spec, "export": [{"format": "Safetensors"}]},
}


@pytest.mark.parametrize("case", SAME)
def test_digest_does_not_change_with_equivalent_values(case: str, job_values: dict) -> None:
    spec = job_values["spec"]
    assert digest(spec_values(read_spec(SAME[case](spec)))) == digest(spec_values(read_spec(spec)))


def test_whole_and_dotted_numbers_have_one_digest(job_values: dict) -> None:
    whole, dotted = ({**job_values["spec"], "generation": {"temperature": value}} for value in (1, 1.0))
    assert digest(spec_values(read_spec(whole))) == digest(spec_values(read_spec(dotted)))


@given(data=st.data())
def test_different_specs_have_different_digests(data: DataObject, valid_specs: SearchStrategy[dict]) -> None:
    first, second = (read_spec(data.draw(valid_specs)) for _ in range(2))
    assert (digest(spec_values(first)) == digest(spec_values(second))) == (first == second)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("false", False), ("3", 3), ("-0.5", -0.5), ("low", "low"), ("True", "True"), ("03", "03"),
     ("NaN", "NaN"), ("1e9999", "1e9999"), ("null", "null"), ('"3"', '"3"')],
)  # fmt: skip
def test_a_variable_of_a_template_is_a_scalar(text: str, value: Any) -> None:
    model = TeacherModel(source="t", chat_template_kwargs={"a": text})
    assert [(type(one), one) for one in model.template_variables.values()] == [(type(value), value)]
