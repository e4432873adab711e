"""The CRD on a real API server: it is taken, takes what we show, and refuses the rest with field and fix."""

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kubedistill.canonical import digest
from kubedistill.manifest.loading import load_manifest
from kubedistill.schema.crd import COLUMNS, crd
from kubedistill.v1alpha1 import DistillationJob
from kubedistill.v1alpha1.job import spec_values
from support.kube_api import Api, Manifest, Refused
from support.small_manifests import distillation_job

ROOT = Path(__file__).parents[2]
CRD, JOB = "apiextensions.k8s.io/v1/CustomResourceDefinition", "kubedistill.io/v1alpha1/DistillationJob"
OURS = "distillationjobs.kubedistill.io"
MANIFESTS = sorted((ROOT / "examples").glob("*/job.yaml")) + sorted(
    (ROOT / "api/kubedistill/cli/starters").glob("*.yaml")
)


def title(path: Path) -> str:
    return path.parent.name if path.name == "job.yaml" else path.stem


def read(path: Path) -> Manifest:
    """Return a manifest for the namespace of a test, whichever it was written for."""
    manifest: Manifest = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    manifest["metadata"].pop("namespace", None)
    return manifest


def test_server_side_apply_takes_it(api: Api) -> None:
    applied = api.apply(crd())
    again = api.apply(crd())
    assert again["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"], "the second changes nothing"
    conditions = {one["type"]: one["status"] for one in again["status"]["conditions"]}
    assert conditions == {"Established": "True", "NamesAccepted": "True"}, "NonStructuralSchema would show here"


def test_plain_create_takes_it_without_a_word_left_over(api: Api) -> None:
    other = copy.deepcopy(crd())
    other["spec"]["group"] = "plain.kubedistill.io"
    other["metadata"]["name"] = "distillationjobs.plain.kubedistill.io"
    other["spec"]["names"] |= {"shortNames": ["djplain"]}
    assert api.create(other, dry_run=True, strict=True)["spec"]["versions"] != []


@pytest.mark.parametrize("path", MANIFESTS, ids=title)
def test_published_examples_are_accepted(path: Path, api: Api, namespace: str) -> None:
    api.create(read(path), namespace=namespace, dry_run=True, strict=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=title)
def test_spec_has_the_same_digest_when_it_comes_back_with_defaults(path: Path, api: Api, namespace: str) -> None:
    back = api.create(read(path), namespace=namespace)
    assert back["spec"]["training"]["optimizer"]["betas"] == [0.9, 0.95], "the server filled in the defaults"
    job = DistillationJob.model_validate({**back, "metadata": {"name": back["metadata"]["name"]}}, strict=False)
    assert digest(spec_values(job.spec)) == digest(spec_values(load_manifest(path).spec))


def test_columns_are_printed(api: Api, namespace: str) -> None:
    api.create(distillation_job("shown"), namespace=namespace)
    status = {
        "phase": "Training",
        "stage": "Train",
        "progress": "50%",
        "attempt": 2,
        "eta": "3m",
        "gpuHours": "1.5",
        "dollars": "4.80",
        "message": "step 5 of 10",
    }
    api.patch(JOB, "shown", {"status": status}, namespace=namespace, subresource="status")
    path = f"/apis/kubedistill.io/v1alpha1/namespaces/{namespace}/distillationjobs"
    table = api.request("get", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    shown = {
        column["name"]: cell for column, cell in zip(table["columnDefinitions"], table["rows"][0]["cells"], strict=True)
    }
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", *(name for name, *_ in COLUMNS)]
    assert [column["name"] for column in table["columnDefinitions"] if column["priority"]] == [
        name for name, *_, wide in COLUMNS if wide
    ]
    assert shown | {"AGE": "", "QUEUE": ""} == {
        "Name": "shown",
        "PHASE": "Training",
        "STAGE": "Train",
        "PROGRESS": "50%",
        "ATTEMPT": 2,
        "QUEUE": "",
        "AGE": "",
        "TEACHER": "teacher",
        "STUDENT": "student",
        "ETA": "3m",
        "GPU-HOURS": "1.5",
        "DOLLARS": "4.80",
        "MESSAGE": "step 5 of 10",
    }


def test_the_column_of_the_teacher_names_an_endpoints_model(api: Api, namespace: str) -> None:
    manifest = distillation_job("remote")
    manifest["spec"]["teachers"] = [{"name": "main", "endpoint": {"model": "gpt-large"}}]
    api.create(manifest, namespace=namespace)
    path = f"/apis/kubedistill.io/v1alpha1/namespaces/{namespace}/distillationjobs"
    table = api.request("get", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    place = [column["name"] for column in table["columnDefinitions"]].index("TEACHER")
    assert [row["cells"][place] for row in table["rows"]] == ["gpt-large"]


def test_short_name_and_categories_are_discovered(api: Api) -> None:
    found = api.request("get", "/apis/kubedistill.io/v1alpha1")["resources"]
    ours = next(one for one in found if one["name"] == "distillationjobs")
    assert (ours["shortNames"], ours["categories"]) == (["dj"], ["all", "distill"])
    assert "distillationjobs/status" in [one["name"] for one in found]


def test_unknown_field_is_pruned_or_with_strict_validation_refused(api: Api, namespace: str) -> None:
    job = distillation_job("unknown")
    job["spec"]["training"]["epoch"] = 3
    with pytest.raises(Refused, match=r'strict decoding error: unknown field "spec.training.epoch"'):
        api.create(job, namespace=namespace, strict=True)
    assert "epoch" not in api.create(job, namespace=namespace)["spec"]["training"]


def test_status_is_written_through_its_subresource_alone(api: Api, namespace: str) -> None:
    made = api.create(distillation_job("two-doors") | {"status": {"phase": "Succeeded"}}, namespace=namespace)
    assert "status" not in made
    patched = api.patch(JOB, "two-doors", {"status": {"phase": "Failed"}}, namespace=namespace)
    assert "status" not in patched
    written = api.patch(JOB, "two-doors", {"status": {"phase": "Pending"}}, namespace=namespace, subresource="status")
    assert (written["status"]["phase"], written["metadata"]["generation"]) == ("Pending", 1)
    edited = api.patch(JOB, "two-doors", {"spec": {"suspend": True}}, namespace=namespace)
    assert (edited["status"]["phase"], edited["metadata"]["generation"]) == ("Pending", 2)


class Gone:
    """In an edit: the field is taken away."""


# What is changed in the quickstart's manifest, by dotted path; the field that the refusal names; the fix that it names.
MALFORMED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no spec": ({"spec": Gone}, "spec", "Required value"),
    "no task": ({"spec.task": Gone}, "spec.task", "Required value"),
    "no type": ({"spec.task.type": Gone}, "spec.task.type", "Required value"),
    "a type of no kind": (
        {"spec.task.type": "Clasification"}, "spec.task.type",
        'supported values: "Classification", "NLI", "Conversation", "QA"',
    ),
    "no labels": (
        {"spec.task.labels": Gone}, "spec.task", "labels is required for a Classification task; list the labels",
    ),
    "labels of free text": (
        {"spec.task.type": "QA"}, "spec.task", "labels are only for Classification and NLI tasks; remove them",
    ),
    "one label": ({"spec.task.labels": ["a"]}, "spec.task.labels", "should have at least 2 items"),
    "a number for a label": ({"spec.task.labels": ["a", 7]}, "spec.task.labels[1]", "must be of type string"),
    "an empty label": ({"spec.task.labels": ["a", ""]}, "spec.task.labels[1]", "should be at least 1 chars long"),
    "a label of a novel's length": ({"spec.task.labels": ["a", "b" * 129]}, "spec.task.labels[1]", "more than 128"),
    "a label with a space at its end": (
        {"spec.task.labels": ["a", "b "]}, "spec.task", "labels contains a label with leading or trailing",
    ),
    "a label with a no-break space at its start": (
        {"spec.task.labels": ["a", "\u00a0b"]}, "spec.task", "labels contains a label with leading or trailing",
    ),
    "a template of another task": (
        {"spec.task.prompt": "{{ a }}"}, "spec.task", "prompt and answer are only for Text tasks; remove them",
    ),
    "an answer of two forms": (
        {"spec.task": {"type": "Text", "answer": {"regex": "a", "jsonSchema": {}}}}, "spec.task.answer",
        "exactly one of regex, jsonSchema and labels must be set",
    ),
    "a regular expression with look-ahead": (
        {"spec.task": {"type": "Text", "answer": {"regex": "(?=a)b"}}}, "spec.task.answer", "regexp",
    ),
    "a schema that is a string": (
        {"spec.task": {"type": "Text", "answer": {"jsonSchema": "{}"}}}, "spec.task.answer.jsonSchema",
        "must be of type object",
    ),
    "no teacher": ({"spec.teachers": []}, "spec.teachers", "should have at least 1 items"),
    "nine teachers": (
        {"spec.teachers": [{"name": name, "model": {"source": "t"}} for name in "abcdefghi"]}, "spec.teachers",
        "must have at most 8 items",
    ),
    "two teachers with one name": (
        {"spec.teachers": [{"name": "a", "model": {"source": "t"}}] * 2}, "spec.teachers[1]", "Duplicate value",
    ),
    "a teacher without name": ({"spec.teachers.0.name": Gone}, "spec.teachers[0].name", "Required value"),
    "a teacher's name with capitals": (
        {"spec.teachers.0.name": "Main"}, "spec.teachers[0].name", "should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'",
    ),
    "a short context": (
        {"spec.teachers.0.model.maxModelLen": 8}, "spec.teachers[0].model.maxModelLen",
        "should be greater than or equal to 16",
    ),
    "a string for a context": (
        {"spec.teachers.0.model.maxModelLen": "4k"}, "spec.teachers[0].model.maxModelLen", "must be of type integer",
    ),
    "no student": ({"spec.student": Gone}, "spec.student", "Required value"),
    "a student without source": ({"spec.student.model": {}}, "spec.student.model.source", "Required value"),
    "a fraction of a GPU": (
        {"spec.student.resources.gpusPerWorker": 0.5}, "spec.student.resources.gpusPerWorker",
        "must be of type integer",
    ),
    "no data": ({"spec.data.train": Gone}, "spec.data.train", "Required value"),
    "data from nowhere": (
        {"spec.data.train": {}}, "spec.data.train", "exactly one of uri and configMapKeyRef must be set",
    ),
    "data from two places": (
        {"spec.data.test.configMapKeyRef": {"name": "a", "key": "b"}}, "spec.data.test",
        "exactly one of uri and configMapKeyRef must be set",
    ),
    "validation from two places": (
        {"spec.data.validation": {"uri": "v.jsonl", "configMapKeyRef": {"name": "a", "key": "b"}}},
        "spec.data.validation", "exactly one of uri and configMapKeyRef must be set",
    ),
    "answers of nobody": (
        {"spec.data.train.answers": "Mine"}, "spec.data.train.answers", 'supported values: "Teacher", "Given"',
    ),
    "a feverish temperature": (
        {"spec.generation.temperature": 3}, "spec.generation.temperature", "should be less than or equal to 2",
    ),
    "no probability at all": ({"spec.generation.topP": 0}, "spec.generation.topP", "should be greater than 0"),
    "a percentage": (
        {"spec.curation.minKeepRatio": 70}, "spec.curation.minKeepRatio", "should be less than or equal to 1",
    ),
    "no epoch": ({"spec.training.epochs": 0}, "spec.training.epochs", "should be greater than or equal to 1"),
    "a softened loss": (
        {"spec.training.objective.temperature": 2}, "spec.training.objective", "temperature must be 1",
    ),
    "a rate in words": (
        {"spec.training.optimizer.learningRate": "2e-5"}, "spec.training.optimizer.learningRate",
        "must be of type number",
    ),
    "one momentum": (
        {"spec.training.optimizer.betas": [0.9]}, "spec.training.optimizer.betas", "should have at least 2 items",
    ),
    "a gate above 1": (
        {"spec.evaluation.gate.minAccuracy": 90}, "spec.evaluation.gate.minAccuracy",
        "should be less than or equal to 1",
    ),
    "a format that is none": (
        {"spec.export": [{"format": "Pickle"}]}, "spec.export[0].format", 'supported values: "Safetensors"',
    ),
    "nine exports": ({"spec.export": [{}] * 9}, "spec.export", "must have at most 8 items"),
    "a queue without name": ({"spec.queue": {}}, "spec.queue.name", "Required value"),
    "a quantity in words": (
        {"spec.stages.train.memory": "16 GB"}, "spec.stages.train.memory", "should match '^[0-9]+",
    ),
    "no deadline to speak of": (
        {"spec.activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds", "should be greater than or equal to 1",
    ),
    "a run named in capitals": ({"spec.runID": "Run_2"}, "spec.runID", "should match '^[a-z0-9]"),
    "yes for true": ({"spec.suspend": "yes"}, "spec.suspend", "must be of type boolean"),
    "an escape sequence": (
        {"spec.teachers.0.model.source": "a\x1b]0;x\x07"}, "spec.teachers[0].model.source", "should match '^[^",
    ),
    "a line break at the end": ({"spec.student.model.source": "a\n"}, "spec.student.model.source", "should match '^[^"),
    "a control character of C1": ({"spec.task.labels": ["a", "b\x9b2J"]}, "spec.task.labels[1]", "should match '^[^"),
    "an escape sequence in a string": (
        {"spec.task.systemPrompt": "a\x1b"}, "spec.task.systemPrompt", "should match '^[^",
    ),
    "an escape sequence in an annotation": (
        {"spec.pods.annotations": {"a": "b\x1b"}}, "spec.pods.annotations.a", "should match '^[^",
    ),
    "a path for a ConfigMap": (
        {"spec.data.train": {"configMapKeyRef": {"name": "../../etc", "key": "a"}}},
        "spec.data.train.configMapKeyRef.name", "should match '^[a-z0-9]",
    ),
    "a path for a key": (
        {"spec.data.train": {"configMapKeyRef": {"name": "a", "key": "../a"}}},
        "spec.data.train.configMapKeyRef.key", "should match",
    ),
    "a teacher of two kinds": (
        {"spec.teachers.0.endpoint": {"model": "large"}}, "spec.teachers[0]", "exactly one of model and endpoint",
    ),
    "a teacher of no kind": ({"spec.teachers.0.model": Gone}, "spec.teachers[0]", "exactly one of model and endpoint"),
    "an endpoint on a pool": (
        {"spec.teachers.0": {"name": "main", "endpoint": {"model": "large"}, "resources": {"pool": "h100"}}},
        "spec.teachers[0]", "resources belong to a model",
    ),
    "a deployment without a version": (
        {"spec.teachers.0": {"name": "main", "endpoint": {"api": "AzureOpenAI", "model": "a", "url": "https://a"}}},
        "spec.teachers[0].endpoint", "url and apiVersion are required",
    ),
    "a version for OpenAI": (
        {"spec.teachers.0": {"name": "main", "endpoint": {"model": "a", "apiVersion": "v1"}}},
        "spec.teachers[0].endpoint", "url and apiVersion are required",
    ),
    "a password in a URL": (
        {"spec.teachers.0": {"name": "main", "endpoint": {"model": "a", "url": "https://me:key@a/v1"}}},
        "spec.teachers[0].endpoint.url", "should match '^https?://",
    ),
    "a budget without a limit": ({"spec.budget": {}}, "spec.budget", "a budget has dollars, gpuHours or both"),
    "dollars for an endpoint without prices": (
        {"spec.teachers.0": {"name": "main", "endpoint": {"model": "large"}}, "spec.budget": {"dollars": 5}},
        "spec", "budget.dollars needs prices of each endpoint",
    ),
    "a path for a claim": ({"spec.storage.volumeClaim": "../a"}, "spec.storage.volumeClaim", "should match '^[a-z0-9]"),
    "a long name": ({"metadata.name": "n" * 33}, "metadata.name", "must be at most 32 characters"),
    "a name with a dot": ({"metadata.name": "a.b"}, "metadata.name", "must not contain a dot"),
    "a name that begins with a digit": ({"metadata.name": "7b-to-1b"}, "metadata.name", "must start with a letter"),
    "a name with capitals": ({"metadata.name": "Support"}, "metadata.name", "must consist of lower case alphanumeric"),
}  # fmt: skip


def edited(changes: dict[str, Any]) -> Manifest:
    """Return the quickstart's manifest with the values at some dotted paths changed."""
    manifest = distillation_job("malformed")
    for path, value in changes.items():
        *way, last = path.split(".")
        node: Any = manifest
        for step in way:
            node = node[int(step)] if step.isdigit() else node.setdefault(step, {})
        if value is Gone:
            del node[last]
        else:
            node[int(last) if last.isdigit() else last] = value
    return manifest


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_manifest_is_refused_with_field_and_fix(case: str, api: Api, namespace: str) -> None:
    changes, field, fix = MALFORMED[case]
    with pytest.raises(Refused) as caught:
        api.create(edited(changes), namespace=namespace, dry_run=True)
    assert caught.value.code == 422
    problem = next((part for part in caught.value.message.split(", ") if fix in part), caught.value.message)
    assert field in problem
    assert fix in caught.value.message
    assert "must validate one and only one schema" not in caught.value.message, "no riddles"


def test_texts_have_lines_and_tabs(api: Api, namespace: str) -> None:
    texts = {"spec.task.systemPrompt": "a:\n\t\u202eb\n", "spec.pods.annotations": {"a": "b\n\tc\n"}}
    api.create(edited(texts), namespace=namespace, dry_run=True, strict=True)


def test_every_case_changes_a_manifest_that_is_good(api: Api, namespace: str) -> None:
    api.create(edited({}), namespace=namespace, dry_run=True, strict=True)
    assert len(MALFORMED) >= 30
