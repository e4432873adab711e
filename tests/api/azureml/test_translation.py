"""Azure ML's distillation jobs: what each of their fields becomes here, and what is said where it becomes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from kubedistill.errors import InvalidManifest
from kubedistill.importers.azureml.fields import FIELDS, Field
from kubedistill.importers.azureml.readers import TASKS
from kubedistill.importers.azureml.translation import Translation
from kubedistill.v1alpha1 import DistillationJob, Generation, Teacher
from kubedistill.v1alpha1.task import TaskType
from support.messages import CheckMessage

Translate = Callable[[dict[str, Any]], Translation]
CONNECTION = "teacher_model_endpoint_connection"
INFERENCE = "teacher_model_settings.inference_parameters"
REQUESTS = "teacher_model_settings.endpoint_request_settings"
LLAMA_405B = {"source": "hf://meta-llama/Llama-3.1-405B-Instruct", "tensorParallelSize": 8, "pipelineParallelSize": 2}
LLAMA_8B = {"source": "hf://meta-llama/Llama-3.1-8B-Instruct"}
REGISTRY = "azureml://registries/azureml-meta/models"

# Azure ML's field, a value as its samples and its documentation write it, our field, its value.
CARRIED: list[tuple[str, Any, str, Any]] = [
    ("name", "Distillation-math-llama", "metadata.name", "distillation-math-llama"),
    ("name", "2nd try: a name of more than 32 characters", "metadata.name", "job-2nd-try-a-name-of-more-than"),
    ("experiment_name", "Distillation Math", "metadata.labels[kubedistill.io/experiment]", "Distillation-Math"),
    ("description", "Teach it: well", "metadata.annotations[kubernetes.io/description]", "Teach it: well"),
    ("data_generation_task_type", "nli", "spec.task.type", "NLI"),
    ("data_generation_task_type", "NLI", "spec.task.type", "NLI"),
    ("data_generation_task_type", "conversation", "spec.task.type", "Conversation"),
    ("data_generation_task_type", "nlu_qa", "spec.task.type", "QA"),
    ("data_generation_task_type", "math", "spec.task.type", "Math"),
    ("data_generation_task_type", "summarization", "spec.task.type", "Summarization"),
    (f"{CONNECTION}.name", "Meta-Llama-3-1-405B-Instruct-vkn", "spec.teachers",
     [{"name": "meta-llama-3-1-405b-instruct-vkn", "model": LLAMA_405B}]),
    (f"{CONNECTION}.name", "our_teacher", "spec.teachers", [{"name": "our-teacher", "model": LLAMA_405B}]),
    (CONNECTION, "Meta-Llama-3.1-405B-Instruct", "spec.teachers",
     [{"name": "meta-llama-3-1-405b-instruct", "model": LLAMA_405B}]),
    ("student_model", f"{REGISTRY}/Meta-Llama-3.1-8B-Instruct/versions/2", "spec.student.model", LLAMA_8B),
    ("student_model", f"{REGISTRY}/Phi-3.5-MoE-instruct/labels/latest", "spec.student.model",
     {"source": "hf://microsoft/Phi-3.5-MoE-instruct"}),
    ("student_model", "azureml:Phi-3-mini-4k-instruct:1", "spec.student.model",
     {"source": "hf://microsoft/Phi-3-mini-4k-instruct"}),
    ("student_model", {"type": "mlflow_model", "path": f"{REGISTRY}/Meta-Llama-3.1-8B-Instruct/versions/2"},
     "spec.student.model", LLAMA_8B),
    ("training_data", {"type": "uri_file", "path": "./train_math.jsonl"}, "spec.data.train.uri", "train_math.jsonl"),
    ("training_data", "data/train.jsonl", "spec.data.train.uri", "data/train.jsonl"),
    ("training_data", "azureml:./train.jsonl", "spec.data.train.uri", "train.jsonl"),
    ("training_data", "file:///data/train.jsonl", "spec.data.train.uri", "file:///data/train.jsonl"),
    ("training_data", "azureml:support-chats:3", "spec.data.train.uri", "support-chats.jsonl"),
    ("training_data", "azureml://datastores/blobs/paths/a%20b/train.jsonl", "spec.data.train.uri", "train.jsonl"),
    ("training_data", "https://x.blob.core.windows.net/c/train.jsonl?sv=1", "spec.data.train.uri", "train.jsonl"),
    ("validation_data", {"type": "uri_file", "path": "./val.jsonl"}, "spec.data.validation.uri", "val.jsonl"),
    (f"{INFERENCE}.temperature", 0.8, "spec.generation.temperature", 0.8),
    (f"{INFERENCE}.top_p", 0.95, "spec.generation.topP", 0.95),
    (f"{INFERENCE}.max_tokens", 100, "spec.generation.maxTokens", 100),
    (f"{REQUESTS}.min_endpoint_success_ratio", 0.9, "spec.generation.minSuccessRatio", 0.9),
    ("prompt_settings.enable_chain_of_density", True, "spec.task.chainOfDensity", True),
    ("prompt_settings.max_len_summary", 80, "spec.task.maxSummaryWords", 80),
    ("prompt_settings.enable_chain_of_thought", True, "spec.task.chainOfThought", True),
    ("hyperparameters.n_epochs", "5", "spec.training.epochs", 5),
    ("hyperparameters.num_train_epochs", "3", "spec.training.epochs", 3),
    ("hyperparameters.num_epochs", 3, "spec.training.epochs", 3),
    ("hyperparameters.batch_size", "2", "spec.training.globalBatchSize", 2),
    ("hyperparameters.per_device_train_batch_size", "1", "spec.training.microBatchSize", 1),
    ("hyperparameters.learning_rate", "2e-5", "spec.training.optimizer.learningRate", 2e-5),
    ("hyperparameters.learning_rate", 3e-4, "spec.training.optimizer.learningRate", 3e-4),
    ("outputs.registered_model.name", "llama-math-distilled", "spec.export",
     [{"format": "Safetensors", "uri": "llama-math-distilled"}]),
]  # fmt: skip

# Azure ML's field, a value, and a part of the reason for which it is left out.
LEFT_OUT: list[tuple[str, Any, str]] = [
    (f"{CONNECTION}.endpoint", "https://a.models.ai.azure.com", "spec.teachers[].endpoint"),
    (f"{CONNECTION}.api_key", "S3CR3T", "belongs in a Secret"),
    (f"{CONNECTION}.type", "serverless", "spec.teachers[].endpoint"),
    (f"{INFERENCE}.frequency_penalty", 0.5, "without penalties"),
    (f"{INFERENCE}.presence_penalty", 1, "without penalties"),
    (f"{INFERENCE}.stop", ["\n"], "template"),
    (f"{REQUESTS}.request_batch_size", 10, "vLLM"),
    ("hyperparameters.learning_rate_multiplier", "0.2", "set learningRate"),
    ("hyperparameters.lora_alpha", "32", "spec.training"),
    ("resources.instance_type", "Standard_D2_v2", "spec.teachers[0].resources.pool"),
    ("resources.instance_count", 2, "pools"),
    ("outputs.registered_model.type", "mlflow_model", "Safetensors"),
    ("outputs.default", {"mode": "rw_mount"}, "spec.export"),
    ("training_data.mode", "ro_mount", "where they are"),
    ("training_data.type", "mltable", "JSONL"),
    ("validation_data.mode", "ro_mount", "where they are"),
    ("validation_data.type", "mltable", "JSONL"),
    ("student_model.type", "triton_model", "source"),
    ("display_name", "Try 2", "one name"),
    ("tags", {"team": "a"}, "metadata.labels"),
    ("properties", {"azureml.enable_distillation": True}, "has no effect"),
    ("id", "/subscriptions/1", "has no effect"),
    ("status", "Completed", "has no effect"),
    ("creation_context", {"created_by": "me"}, "has no effect"),
    ("services", {"Studio": {"type": "Studio"}}, "has no effect"),
    ("color", "red", "no such field"),
    ("teacher_model_settings.color", "red", "no such field"),
]
SILENT = [
    ("$schema", "https://azuremlschemas.azureedge.net/latest/distillationJob.schema.json"),
    ("data_generation_type", "Label_Generation"),
    ("prompt_settings.enable_chain_of_thought", False),
    ("prompt_settings.enable_chain_of_density", False),
    (f"{INFERENCE}.frequency_penalty", 0.0),
    (f"{INFERENCE}.stop", None),
    ("tags", None),
    ("hyperparameters", None),
]


def put(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the values with one field, named by its dotted path, set; a string on the way becomes a mapping."""
    *way, last = path.split(".")
    node = values
    for part in way:
        if not isinstance(node.get(part), dict):
            node[part] = {"path": node[part]} if part == "student_model" else {}
        node = node[part]
    node[last] = value
    return values


def find(values: Any, path: str) -> Any:
    way, _, key = path.removesuffix("]").partition("[")
    for part in (*way.split("."), *([key] if key else [])):
        values = values[part]
    return values


def without_epochs(values: dict[str, Any]) -> dict[str, Any]:
    values["hyperparameters"] = {}
    return values


@pytest.mark.parametrize(("field", "value", "ours", "becomes"), CARRIED)
def test_field_is_carried_over(
    field: str, value: Any, ours: str, becomes: Any, azure_job: dict[str, Any], translated: Translate
) -> None:
    if field == CONNECTION:
        del azure_job[CONNECTION]
    if field == "data_generation_task_type":  # a conversation has no chain of thought
        del azure_job["prompt_settings"]
    if ours in ("spec.task.chainOfDensity", "spec.task.maxSummaryWords"):
        azure_job |= {"data_generation_task_type": "summarization", "prompt_settings": {}}
    job = translated(put(without_epochs(azure_job), field, value)).values
    assert find(job, ours) == becomes
    DistillationJob.model_validate_json(json.dumps(job), by_alias=True, by_name=False)


@pytest.mark.parametrize(("field", "value", "why"), LEFT_OUT, ids=[row[0] for row in LEFT_OUT])
def test_field_that_is_left_out_is_named_with_the_reason(
    field: str, value: Any, why: str, azure_job: dict[str, Any], translated: Translate
) -> None:
    before = translated(azure_job)
    after = translated(put(azure_job, field, value))
    named = {remark.field: remark for remark in after.remarks}
    name = next(name for name in named if name == field or name.startswith(f"{field}."))
    assert named[name].dropped
    assert why in named[name].message
    assert {**after.values, "spec": {**after.values["spec"], "teachers": []}} == {
        **before.values,
        "spec": {**before.values["spec"], "teachers": []},
    }


@pytest.mark.parametrize(("field", "value"), SILENT)
def test_value_that_asks_for_nothing_gets_no_word(
    field: str, value: Any, azure_job: dict[str, Any], translated: Translate
) -> None:
    named = [remark.field for remark in translated(put(azure_job, field, value)).remarks]
    assert field not in named


def test_every_row_of_the_table_is_tested() -> None:
    tested = {row[0] for row in (*CARRIED, *LEFT_OUT, *SILENT)} | {"type"}
    short = {"student_model", "training_data", "validation_data"}
    tested |= {f"{field}.path" for field in short & tested}
    wild = {field.source for field in FIELDS if field.source.endswith(".*")}
    untested = {field.source for field in FIELDS} - tested - wild
    assert not untested
    assert all(any(name.startswith(source[:-1]) for name in tested) for source in wild)


# The fields that the five samples of Azure ML set, with the values in which they differ.
SAMPLES = {
    "nli": ("nli", {"temperature": 0.1, "max_tokens": 1024, "top_p": 0.95}, {"enable_chain_of_thought": True}),
    "qa": ("nlu_qa", {"temperature": 0.1, "max_tokens": 1024, "top_p": 0.95}, {"enable_chain_of_thought": True}),
    "math": ("math", {"temperature": 0.1, "max_tokens": 1024, "top_p": 0.95}, {"enable_chain_of_thought": True}),
    "conversation": ("conversation", {"temperature": 0.1, "max_tokens": 100, "top_p": 0.95}, None),
    "summarization": (
        "summarization", {"temperature": 0.8, "max_tokens": 1024, "top_p": 0.95},
        {"enable_chain_of_density": True, "max_len_summary": 80},
    ),
}  # fmt: skip


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_value_of_a_sample_is_carried_over_or_named(
    sample: str, azure_job: dict[str, Any], translated: Translate
) -> None:
    kind, inference, prompts = SAMPLES[sample]
    azure_job |= {"name": f"Distillation-{sample}-llama", "data_generation_task_type": kind, "prompt_settings": prompts}
    azure_job["teacher_model_settings"]["inference_parameters"] = inference
    done = translated(azure_job)
    spec = done.values["spec"]
    assert spec["generation"] == {
        "temperature": inference["temperature"],
        "topP": 0.95,
        "maxTokens": inference["max_tokens"],
        "minSuccessRatio": 0.7,
    }
    assert spec["training"] == {"epochs": 5, "globalBatchSize": 2}
    assert spec["data"] == {"train": {"uri": "train.jsonl"}, "validation": {"uri": "validation.jsonl"}}
    assert {remark.field for remark in done.remarks if remark.dropped} == {
        *(f"{CONNECTION}.{name}" for name in ("type", "endpoint", "api_key")),
        f"{REQUESTS}.request_batch_size",
        "hyperparameters.learning_rate_multiplier",
        "resources.instance_type",
        "outputs.registered_model.type",
    }
    assert len(spec["task"]) == 1 + len(prompts or ())


def test_the_remarks_that_name_no_loss_say_what_is_different(azure_job: dict[str, Any], translated: Translate) -> None:
    azure_job |= {"data_generation_task_type": "math", "training_data": "azureml:chats:1"}
    said = {remark.field: remark.message for remark in translated(azure_job).remarks if not remark.dropped}
    assert "data_generation_task_type" not in said
    assert "as chats.jsonl" in said["training_data"]
    assert "version 2" in said["student_model"]
    assert "from hf://meta-llama/Llama-3.1-405B-Instruct" in said[f"{CONNECTION}.name"]
    assert "name pools" in said["spec.teachers[0].resources.pool"]


def test_a_key_is_repeated_nowhere(azure_job: dict[str, Any], translated: Translate) -> None:
    assert "S3CR3T" not in repr(translated(azure_job))


def test_a_field_that_two_names_set_is_set_by_one_and_the_other_is_named(
    azure_job: dict[str, Any], translated: Translate
) -> None:
    azure_job["hyperparameters"] = {"num_train_epochs": "1", "n_epochs": "5"}
    done = translated(azure_job)
    assert done.values["spec"]["training"]["epochs"] == 5
    assert {remark.field: remark.message for remark in done.remarks}["hyperparameters.num_train_epochs"] == (
        "hyperparameters.n_epochs already sets this"
    )


def test_a_job_without_a_name_has_that_of_its_file(azure_job: dict[str, Any], translated: Translate) -> None:
    del azure_job["name"]
    assert translated(azure_job).values["metadata"] == {
        "name": "azure",
        "labels": {"kubedistill.io/experiment": "entailment"},
        "annotations": {"kubernetes.io/description": "Teach the small one"},
    }


# What is wrong: a field, its value (None: removed), and the place that the error names.
BAD: dict[str, tuple[str, Any, str]] = {
    "no type": ("type", None, "azure.yaml:1: type"),
    "another job": ("type", "command", "azure.yaml:2: type"),
    "no task": ("data_generation_task_type", None, "azure.yaml:1: data_generation_task_type"),
    "an unknown task": ("data_generation_task_type", "poetry", "azure.yaml:7: data_generation_task_type"),
    "prompts to be made up": ("data_generation_type", "data_generation", "azure.yaml:6: data_generation_type"),
    "no data": ("training_data", None, "azure.yaml:1: training_data.path"),
    "no student": ("student_model", None, "azure.yaml:1: student_model.path"),
    "an unknown student": ("student_model", f"{REGISTRY}/BERT/versions/1", "azure.yaml:22: student_model"),
    "a list for a student": ("student_model", ["a"], "azure.yaml:22: student_model.path"),
    "an unknown teacher": (
        CONNECTION,
        {"name": "oracle", "endpoint": "https://oracle.example.com"},
        f"azure.yaml:17: {CONNECTION}.name",
    ),
    "a teacher without a name": (
        CONNECTION,
        {"endpoint": "https://a.example.com"},
        f"azure.yaml:16: {CONNECTION}.name",
    ),
    "a word for a number": (f"{INFERENCE}.temperature", "warm", f"azure.yaml:31: {INFERENCE}.temperature"),
    "a truth for a number": (f"{INFERENCE}.top_p", True, f"azure.yaml:33: {INFERENCE}.top_p"),
    "a word for a switch": (
        "prompt_settings.enable_chain_of_thought",
        "yes",
        "azure.yaml:41: prompt_settings.enable_chain_of_thought",
    ),
    "a chain of thought in a conversation": (
        "data_generation_task_type",
        "conversation",
        "azure.yaml:41: prompt_settings.enable_chain_of_thought",
    ),
    "half an epoch": ("hyperparameters.n_epochs", "1.5", "azure.yaml:45: hyperparameters.n_epochs"),
    "a number out of its range": (f"{INFERENCE}.temperature", 7, f"azure.yaml:31: {INFERENCE}.temperature"),
    "an epoch that never ends": ("hyperparameters.n_epochs", "inf", "azure.yaml:45: hyperparameters.n_epochs"),
    "a name of nothing": ("name", " ", "azure.yaml:3: name"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_named_with_line_field_and_fix(
    case: str, azure_job: dict[str, Any], translated: Translate, check_message: CheckMessage
) -> None:
    field, value, at = BAD[case]
    if value is None:
        del azure_job[field]
    else:
        put(azure_job, field, value)
    with pytest.raises(InvalidManifest) as caught:
        translated(azure_job)
    assert caught.value.at == at
    check_message(caught.value)


def test_fields_that_exist_here_by_now_are_translated() -> None:
    """These rows of FIELDS and TASKS stand for fields that v1alpha1 had not; whoever adds one gives it a target."""
    assert set(get_args(TaskType)) - {"Classification", "Text"} == set(TASKS.values())
    remarks = [field.why for field in FIELDS if field.source.startswith("teacher_model_endpoint_connection.e")]
    assert "endpoint" in Teacher.model_fields
    assert all("spec.teachers[].endpoint" in why for why in remarks), "a job that moves here is served here"
    assert {"stop", "frequency_penalty", "presence_penalty"}.isdisjoint(Generation.model_fields)


def test_the_page_shows_the_table_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
    rows = [f"| `{field.source}` | {shown_target(field)} | {field.why} |" for field in FIELDS]
    missing = "\n".join(row for row in rows if row not in page)
    assert not missing, f"docs/migration.md lacks:\n{missing}"


def shown_target(field: Field) -> str:
    if not field.target:
        return "–"
    return f"`{field.target}[{field.key}]`" if field.key else f"`{field.target}`"
