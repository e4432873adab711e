"""The specification of keys: which artifacts an edit makes again, and which it leaves as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from safetensors.numpy import save_file

from kubedistill.chain import StageName
from kubedistill.contract import Hardware, Prices
from kubedistill.errors import (
    InvalidData,
    InvalidInput,
    InvalidManifest,
    InvalidModel,
    KubedistillError,
    TokenizerMismatch,
)
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.choices import date_of
from kubedistill_runtime.keys import check_unchanged
from kubedistill_runtime.teachers.served import ServedTeacher
from support.job_folder import JobFolder, tokenizer_values, write_records
from support.messages import CheckMessage
from support.spec_fields import (
    ALL,
    CONDITIONS,
    FIELDS,
    IN_PLACE_OF_URI,
    NEEDS,
    NOTHING,
    ONE_LEGAL_VALUE,
    SAMPLES,
    STUDENT,
    leaves,
)

Edit = Callable[[JobFolder], None]

NLI = ["entailment", "neutral", "contradiction"]


def changed(job_folder: JobFolder, edit: Edit) -> set[str]:
    """Return the artifacts whose key an edit changes."""
    before = job_folder.keys()
    edit(job_folder)
    after = job_folder.keys()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("path", sorted(FIELDS.keys() - ONE_LEGAL_VALUE - IN_PLACE_OF_URI))
def test_a_field_changes_exactly_these_keys(path: str, job_folder: JobFolder) -> None:
    value, expected = FIELDS[path]
    value = value.format(root=job_folder.root.name) if isinstance(value, str) else value

    def edit(job_folder: JobFolder) -> None:
        if path == "task.type":
            job_folder.drop("task.labels")
        job_folder.set(path, value)

    if path in NEEDS:
        job_folder.set(*NEEDS[path])
    if path == "teachers.0.model.chatTemplateKwargs":
        write_template(job_folder, "{{ enable_thinking }}{{ messages }}", "teacher", "student")
    assert changed(job_folder, edit) == expected


def write_template(job_folder: JobFolder, template: str, *models: str) -> None:
    for model in models:
        (job_folder.root / model / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))


NAMED = (
    "{# thinking_budget #}{% set ns = namespace(last=0) %}{% for message in messages %}{% generation %}"
    "{{ message.reasoning_content or raise_exception('Reasoning') }}{% endgeneration %}{% break %}{% endfor %}"
    "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}{{ enable_thinking }}"
)


@pytest.mark.parametrize(
    "name",
    ["enable_thinkin", "messages", "reasoning_content", "message", "Reasoning", "raise_exception", "namespace",
     "thinking_budget"],
)  # fmt: skip
def test_a_variable_that_the_template_does_not_have_is_refused(
    name: str, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    write_template(job_folder, NAMED, "teacher")
    job_folder.set("teachers.0.model.chatTemplateKwargs", {name: "true"})
    with pytest.raises(InvalidModel) as refused:
        job_folder.resolve()
    assert refused.value.at == "spec.teachers[0].model.chatTemplateKwargs"
    check_message(refused.value, name)


def test_a_template_that_is_not_jinja_is_refused_with_its_variables(
    job_folder: JobFolder, check_message: CheckMessage
) -> None:
    write_template(job_folder, "{% if enable_thinking %}", "teacher")
    job_folder.resolve()
    job_folder.set("teachers.0.model.chatTemplateKwargs", {"enable_thinking": "true"})
    with pytest.raises(InvalidModel) as refused:
        job_folder.resolve()
    check_message(refused.value, "chatTemplateKwargs")


def test_a_student_without_the_variables_of_its_teacher_learns_its_own_rendering(job_folder: JobFolder) -> None:
    write_template(job_folder, "{{ enable_thinking }}{{ messages }}", "teacher", "student")
    assert job_folder.resolve().form == "Generated"
    write_template(job_folder, NAMED, "teacher", "student")
    job_folder.set("teachers.0.model.chatTemplateKwargs", {"enable_thinking": "false"})
    choices = job_folder.resolve()
    assert (choices.form, choices.teachers[0].model.template_variables) == ("Rendered", {"enable_thinking": False})
    assert "other variables of its chat template" in choices.objective_reason


def test_reasoning_between_tags_is_kept_where_the_student_has_the_same_format(
    job_folder: JobFolder, check_message: CheckMessage
) -> None:
    thinking = "{{ messages[-1]['content'].split('</think>')[-1] }}"
    write_template(job_folder, thinking, "teacher", "student")
    assert not job_folder.resolve().thinks
    job_folder.set("task.keepReasoning", True)
    assert job_folder.resolve().thinks
    write_template(job_folder, f"{thinking} ", "student")
    with pytest.raises(InvalidManifest) as refused:
        job_folder.resolve()
    assert refused.value.at == "spec.task.keepReasoning"
    check_message(refused.value)


CONDITIONED = [
    pytest.param(given, path, value, expected, id=f"{name}, {path} to {value}")
    for name, (given, edits) in CONDITIONS.items()
    for path, value, expected in edits
]


@pytest.mark.parametrize(("given", "path", "value", "expected"), CONDITIONED)
def test_under_a_condition_a_field_changes_exactly_these_keys(
    given: dict[str, Any], path: str, value: Any, expected: set[str], job_folder: JobFolder
) -> None:
    for condition, there in given.items():
        job_folder.set(condition, there)
    assert changed(job_folder, lambda job: job.set(path, value)) == expected


GPU = Hardware(accelerator="NVIDIA H100", gpus_per_pod=1)


@pytest.mark.parametrize(
    ("stage", "expected"), [("Generate", ALL), ("Train", STUDENT), ("Evaluate", {"report"}), ("Curate", NOTHING)]
)
def test_the_hardware_of_a_stage_determines_the_precision_of_what_it_makes(
    stage: StageName, expected: set[str], job_folder: JobFolder
) -> None:
    assert changed(job_folder, lambda job: job.hardware.update({stage: GPU})) == expected
    job_folder.hardware[stage] = GPU
    more = GPU.model_copy(update={"pods": 8, "accelerator": "NVIDIA H200"})
    assert changed(job_folder, lambda job: job.hardware.update({stage: more})) == NOTHING


def test_precision_in_the_manifest_leaves_nothing_to_the_hardware(job_folder: JobFolder) -> None:
    job_folder.set("teachers.0.model.dtype", "BFloat16")
    job_folder.set("training.precision", "FP32")
    assert changed(job_folder, lambda job: job.hardware.update({"Generate": GPU, "Train": GPU})) == NOTHING
    choices = job_folder.resolve()
    assert (choices.precision, choices.student_dtype) == ("FP32", "Float32")


def test_models_on_gpus_are_served_in_their_own_precision(job_folder: JobFolder) -> None:
    job_folder.hardware.update({"Generate": GPU, "Train": GPU, "Evaluate": GPU})
    choices = job_folder.resolve()
    assert (choices.precision, choices.student_dtype) == ("BF16", "BFloat16")
    (teacher,) = choices.teachers
    assert isinstance(teacher, ServedTeacher)
    assert (teacher.dtype, teacher.serving(k=0).hardware) == ("BFloat16", GPU)


def test_the_table_names_every_field_of_the_spec() -> None:
    assert set(leaves(Spec)) == FIELDS.keys()


def append(path: str, data: bytes = b" ") -> Edit:
    """More bytes in a file."""

    def edit(job_folder: JobFolder) -> None:
        file = job_folder.root / path
        file.write_bytes(file.read_bytes() + data)

    return edit


def put(path: str, value: Any) -> Edit:
    """Return a file with a JSON value, or with a string."""

    def edit(job_folder: JobFolder) -> None:
        (job_folder.root / path).write_text(value if isinstance(value, str) else json.dumps(value))

    return edit


def replace_student_tokenizer(job_folder: JobFolder) -> None:
    other = tokenizer_values(added_tokens=[{"id": 3, "content": "<end>"}])
    (job_folder.root / "student" / "tokenizer.json").write_text(json.dumps(other))


FILES: dict[str, tuple[Edit, set[str]]] = {
    "a record of train": (append("data/train.jsonl", b'{"prompt": "one more"}\n'), ALL),
    "a record of validation": (append("data/validation.jsonl", b'{"prompt": "one more"}\n'), ALL),
    "a record of test": (append("data/test.jsonl", b'{"prompt": "one more"}\n'), ALL),
    "the teacher's config": (append("teacher/config.json"), ALL),
    "the student's config": (append("student/config.json"), STUDENT),
    "the student's tokenizer, spelled otherwise": (append("student/tokenizer.json"), SAMPLES),
    "the student's tokenizer": (replace_student_tokenizer, SAMPLES),
    "the student's tokenizer_config": (put("student/tokenizer_config.json", {"add_bos_token": True}), SAMPLES),
    "the student's special tokens": (put("student/special_tokens_map.json", {"eos_token": "<end>"}), SAMPLES),
    "the student's template": (put("student/chat_template.jinja", "{{ messages }}"), SAMPLES),
    "the student's stop ids": (put("student/generation_config.json", {"eos_token_id": [1, 2]}), SAMPLES),
    "the student's other generation settings": (put("student/generation_config.json", {"top_k": 20}), STUDENT),
    "the student's code, which may not run": (put("student/tokenization_own.py", "pass"), STUDENT),
}


TOKENIZER_FILES = ["added_tokens.json", "special_tokens_map.json", "vocab.json", "merges.txt", "chat_template.jinja"]


@pytest.mark.parametrize("name", TOKENIZER_FILES)
def test_every_file_that_decides_ids_changes_the_samples(name: str, job_folder: JobFolder) -> None:
    def edit(job_folder: JobFolder) -> None:
        (job_folder.root / "student" / name).write_text("{}")

    assert "samples" in changed(job_folder, edit)


@pytest.mark.parametrize("name", FILES)
def test_a_file_changes_exactly_these_keys(name: str, job_folder: JobFolder) -> None:
    edit, expected = FILES[name]
    assert changed(job_folder, edit) == expected


@pytest.mark.parametrize(("model", "expected"), [("teacher", ALL), ("student", STUDENT)])
def test_weights_change_exactly_these_keys(model: str, expected: set[str], job_folder: JobFolder) -> None:
    def edit(job_folder: JobFolder) -> None:
        file = job_folder.root / model / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")

    assert changed(job_folder, edit) == expected


def test_another_tokenizer_of_the_student_leaves_the_teachers_answers(job_folder: JobFolder) -> None:
    """Another student may follow, and no library is filled twice."""
    job_folder.set("training.objective.type", "Sequence")
    assert changed(job_folder, replace_student_tokenizer) == SAMPLES


def test_code_that_may_run_is_part_of_the_students_chat_format(job_folder: JobFolder) -> None:
    job_folder.set("student.model.trustRemoteCode", True)
    assert changed(job_folder, put("student/tokenization_own.py", "pass")) == SAMPLES


def test_two_students_with_one_chat_format_share_their_samples(job_folder: JobFolder) -> None:
    def other_weights(job_folder: JobFolder) -> None:
        shutil.copytree(job_folder.root / "student", job_folder.root / "larger")
        save_file({"weight": np.ones((7, 4), np.float32)}, job_folder.root / "larger" / "model.safetensors")
        job_folder.set("student.model.source", "larger")

    assert changed(job_folder, other_weights) == STUDENT


def test_the_seed_changes_every_key_where_it_chooses_the_held_out_records(job_folder: JobFolder) -> None:
    write_records(job_folder.root / "data" / "train.jsonl", [f"prompt {number}" for number in range(100)])
    job_folder.drop("data.validation")
    assert changed(job_folder, lambda job: job.set("generation.seed", 1)) == ALL


def test_a_file_of_its_own_in_place_of_held_out_records_changes_every_key(job_folder: JobFolder) -> None:
    assert changed(job_folder, lambda job: job.drop("data.validation")) == ALL


DATED = "{{ strftime_now('%d %b %Y') }}{{ messages }}"


DATES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "nobody asks": ((), NOTHING),
    "the teacher asks": (("teacher",), ALL),
    "the student asks": (("student",), SAMPLES),
    "both ask": (("teacher", "student"), ALL),
}


@pytest.mark.parametrize("name", DATES)
def test_the_day_enters_keys_only_where_a_template_asks_for_it(name: str, job_folder: JobFolder) -> None:
    models, expected = DATES[name]
    write_template(job_folder, DATED, *models)
    job_folder.set("task.date", "2026-01-02")
    assert changed(job_folder, lambda job: job.set("task.date", "2026-01-03")) == expected


def test_the_manifests_day_comes_before_the_jobs_and_that_before_the_clock(job_folder: JobFolder) -> None:
    job = job_folder.stage_job().model_copy(update={"date": "2025-05-06"})
    assert date_of(job).isoformat() == "2025-05-06"
    job_folder.set("task.date", "2024-03-04")
    named = job_folder.stage_job().model_copy(update={"date": "2025-05-06"})
    assert date_of(named).isoformat() == "2024-03-04"


@pytest.mark.parametrize("price", [{"teacher": 2.5}, {"student": 0.8}])
def test_prices_change_no_key(price: dict[str, float], job_folder: JobFolder) -> None:
    assert changed(job_folder, lambda job: setattr(job, "prices", Prices(**price))) == NOTHING


def test_the_same_files_elsewhere_and_later_change_no_key(job_folder: JobFolder) -> None:
    def move(job_folder: JobFolder) -> None:
        for name in ("teacher", "student", "data"):
            shutil.copytree(job_folder.root / name, job_folder.root / "moved" / name, copy_function=shutil.copy)
            shutil.rmtree(job_folder.root / name)
        (job_folder.root / "moved" / "data" / "train.jsonl").rename(job_folder.root / "moved" / "data" / "other.jsonl")
        for model in ("teachers.0.model.source", "student.model.source"):
            job_folder.set(model, f"moved/{model.split('.', maxsplit=1)[0].removesuffix('s')}")
        for split in ("train", "validation", "test"):
            job_folder.set(f"data.{split}.uri", f"moved/data/{'other' if split == 'train' else split}.jsonl")

    assert changed(job_folder, move) == NOTHING


def test_config_maps_count_by_what_they_hold(job_folder: JobFolder) -> None:
    def mount(job_folder: JobFolder) -> None:
        for split in ("train", "validation", "test"):
            folder = job_folder.root / f"map-{split}"
            folder.mkdir()
            shutil.copy(job_folder.root / "data" / f"{split}.jsonl", folder / "records.jsonl")
            job_folder.config_maps[split] = str(folder)
            job_folder.set(f"data.{split}", {"configMapKeyRef": {"name": split, "key": "records.jsonl"}})

    assert changed(job_folder, mount) == NOTHING
    assert changed(job_folder, append("map-test/records.jsonl", b'{"prompt": "one more"}\n')) == ALL


def test_spelling_every_default_out_changes_no_key(job_folder: JobFolder) -> None:
    def spell_out(job_folder: JobFolder) -> None:
        spec = job_folder.stage_job().spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        spec["generation"] |= {"temperature": 0, "topLogprobs": 32}
        spec["training"] |= {"precision": "FP32", "maxLength": 64}
        spec["training"]["objective"] |= {"type": "CachedLogits", "ceWeight": 0}
        spec["teachers"][0]["model"]["dtype"] = "Float32"
        job_folder.spec = spec

    assert changed(job_folder, spell_out) == NOTHING


def test_spelling_the_labels_of_nli_out_changes_no_key(job_folder: JobFolder) -> None:
    job_folder.set("task", {"type": "NLI"})
    assert changed(job_folder, lambda job: job.set("task.labels", NLI)) == NOTHING


@pytest.mark.parametrize(
    ("task", "samples", "spelled", "resolved"),
    [
        ({"type": "Classification", "labels": ["yes", "no"]}, 1, None, 0.0),
        ({"type": "NLI"}, 1, None, 0.0),
        ({"type": "QA"}, 1, None, 0.0),
        ({"type": "Conversation"}, 1, None, 0.7),
        ({"type": "QA"}, 2, None, 0.7),
        ({"type": "NLI"}, 1, 0.3, 0.3),
        ({"type": "Conversation"}, 1, 0, 0.0),
    ],
)
def test_temperature_is_what_the_task_needs_unless_spelled(
    task: dict[str, Any], samples: int, spelled: float | None, resolved: float, job_folder: JobFolder
) -> None:
    job_folder.set("task", task)
    job_folder.set("generation.samplesPerPrompt", samples)
    if spelled is not None:
        job_folder.set("generation.temperature", spelled)
    found = job_folder.resolve()
    assert found.sampling.temperature == resolved
    assert found.judge_sampling.temperature == 0, "validation and test are always answered greedily"


@pytest.mark.parametrize(
    ("other_tokenizer", "spelled", "k"),
    [(False, None, 32), (True, None, 32), (False, 0, 0), (True, 0, 0), (False, 8, 8), (True, 8, 8)],
)
def test_as_many_alternatives_are_stored_whatever_the_students_tokenizer(
    *, other_tokenizer: bool, spelled: int | None, k: int, job_folder: JobFolder
) -> None:
    if other_tokenizer:
        replace_student_tokenizer(job_folder)
    if spelled is not None:
        job_folder.set("generation.topLogprobs", spelled)
    found = job_folder.resolve()
    assert (found.k, found.sampling.k, found.judge_sampling.k) == (k, k, k)


def given(job_folder: JobFolder) -> None:
    job_folder.set("data.train.answers", "Given")


def no_logprobs(job_folder: JobFolder) -> None:
    job_folder.set("generation.topLogprobs", 0)


OBSTACLES: dict[str, tuple[Edit, str, type[KubedistillError]]] = {
    "answers are given": (given, "given", InvalidManifest),
    "two tokenizers": (replace_student_tokenizer, "3 and 4", TokenizerMismatch),
    "no logprobs": (no_logprobs, "topLogprobs", InvalidManifest),
}


def test_auto_takes_the_stronger_objective_and_says_why(job_folder: JobFolder, check_message: CheckMessage) -> None:
    found = job_folder.resolve()
    assert found.objective == "CachedLogits"
    check_message(found.objective_reason, "tokenizer")


@pytest.mark.parametrize("name", OBSTACLES)
def test_auto_falls_back_to_sequence_and_names_the_obstacle(
    name: str, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    edit, obstacle, _ = OBSTACLES[name]
    edit(job_folder)
    found = job_folder.resolve()
    assert found.objective == "Sequence"
    check_message(found.objective_reason, obstacle)


@pytest.mark.parametrize("name", OBSTACLES)
def test_cached_logits_is_refused_with_the_obstacle_and_the_fix(
    name: str, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    edit, obstacle, kind = OBSTACLES[name]
    edit(job_folder)
    job_folder.set("training.objective.type", "CachedLogits")
    with pytest.raises(kind) as refused:
        job_folder.resolve()
    assert refused.value.at == "spec.training.objective.type"
    check_message(refused.value, obstacle)


@pytest.mark.parametrize("objective", ["Sequence", "CachedLogits"])
def test_an_objective_that_is_spelled_is_taken(objective: str, job_folder: JobFolder) -> None:
    job_folder.set("training.objective.type", objective)
    found = job_folder.resolve()
    assert (found.objective, found.objective_reason) == (objective, "as the manifest says")


@pytest.mark.parametrize(
    ("source", "kind", "named"),
    [
        ({"uri": "gone.jsonl"}, InvalidData, "gone.jsonl"),
        ({"uri": "s3://bucket/data"}, InvalidManifest, "'s3'"),
        ({"configMapKeyRef": {"name": "prompts", "key": "a"}}, InvalidManifest, "--configmap prompts=FOLDER"),
    ],
)
def test_data_that_is_not_there_is_refused_with_its_field(
    source: dict[str, Any], kind: type[KubedistillError], named: str, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    job_folder.set("data.test", source)
    with pytest.raises(kind) as refused:
        job_folder.resolve()
    assert refused.value.at.startswith("spec.data.test")
    check_message(refused.value, named)


MISTAKES: dict[str, tuple[str, str]] = {
    "data": ("data.train.uri", "spec.data.train: "),
    "the folder of the student": ("student.model.source", "spec.student.model.source: "),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_not_there_is_refused_before_a_model_is_fetched(
    name: str, job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fetched.append("the hub"))
    path, at = MISTAKES[name]
    job_folder.set("teachers.0.model.source", "hf://nobody/large")
    job_folder.set(path, "nowhere")
    with pytest.raises(InvalidInput) as refused:
        job_folder.keys()
    assert str(refused.value).startswith(at)
    assert fetched == []


def test_a_file_uri_is_decoded(job_folder: JobFolder, tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    shutil.copy(job_folder.root / "data" / "test.jsonl", folder)
    assert changed(job_folder, lambda job: job.set("data.test.uri", (folder / "test.jsonl").as_uri())) == NOTHING


def test_what_changed_while_the_job_ran_is_named(job_folder: JobFolder, check_message: CheckMessage) -> None:
    job = job_folder.stage_job("Curate", keys=job_folder.keys())
    check_unchanged(job, job_folder.resolve())
    append("student/config.json")(job_folder)
    with pytest.raises(InvalidInput) as refused:
        check_unchanged(job, job_folder.resolve())
    check_message(refused.value, "export, report, student")
