"""The specification of keys: which artifacts an edit makes anew, and which it leaves as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from kubedistill.contract import Prices
from kubedistill.errors import InvalidData, InvalidInput, InvalidManifest, KubedistillError, TokenizerMismatch
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.resolution import check_keys, date_of
from spec_fields import (
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
from workshop import Workshop, tokenizer_values, write_records

Edit = Callable[[Workshop], None]

NLI = ["entailment", "neutral", "contradiction"]


def changed(workshop: Workshop, edit: Edit) -> set[str]:
    """The artifacts whose key an edit changes."""
    before = workshop.keys()
    edit(workshop)
    after = workshop.keys()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("path", sorted(FIELDS.keys() - ONE_LEGAL_VALUE - IN_PLACE_OF_URI))
def test_a_field_changes_exactly_these_keys(path: str, workshop: Workshop) -> None:
    value, expected = FIELDS[path]
    value = value.format(root=workshop.root.name) if isinstance(value, str) else value

    def edit(workshop: Workshop) -> None:
        if path == "task.type":
            workshop.drop("task.labels")
        workshop.set(path, value)

    if path in NEEDS:
        workshop.set(*NEEDS[path])
    assert changed(workshop, edit) == expected


CONDITIONED = [
    pytest.param(given, path, value, expected, id=f"{name}, {path} to {value}")
    for name, (given, edits) in CONDITIONS.items()
    for path, value, expected in edits
]


@pytest.mark.parametrize(("given", "path", "value", "expected"), CONDITIONED)
def test_under_a_condition_a_field_changes_exactly_these_keys(
    given: dict[str, Any], path: str, value: Any, expected: set[str], workshop: Workshop
) -> None:
    for condition, there in given.items():
        workshop.set(condition, there)
    assert changed(workshop, lambda job: job.set(path, value)) == expected


def test_the_table_names_every_field_of_the_spec() -> None:
    assert set(leaves(Spec)) == FIELDS.keys()


def append(path: str, data: bytes = b" ") -> Edit:
    """More bytes in a file."""

    def edit(workshop: Workshop) -> None:
        file = workshop.root / path
        file.write_bytes(file.read_bytes() + data)

    return edit


def put(path: str, value: Any) -> Edit:
    """A file with a JSON value, or with a text."""

    def edit(workshop: Workshop) -> None:
        (workshop.root / path).write_text(value if isinstance(value, str) else json.dumps(value))

    return edit


def replace_student_tokenizer(workshop: Workshop) -> None:
    other = tokenizer_values(added_tokens=[{"id": 3, "content": "<end>"}])
    (workshop.root / "student" / "tokenizer.json").write_text(json.dumps(other))


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
def test_every_file_that_decides_ids_changes_the_samples(name: str, workshop: Workshop) -> None:
    def edit(workshop: Workshop) -> None:
        (workshop.root / "student" / name).write_text("{}")

    assert "samples" in changed(workshop, edit)


@pytest.mark.parametrize("name", FILES)
def test_a_file_changes_exactly_these_keys(name: str, workshop: Workshop) -> None:
    edit, expected = FILES[name]
    assert changed(workshop, edit) == expected


@pytest.mark.parametrize(("model", "expected"), [("teacher", ALL), ("student", STUDENT)])
def test_weights_change_exactly_these_keys(model: str, expected: set[str], workshop: Workshop) -> None:
    def edit(workshop: Workshop) -> None:
        file = workshop.root / model / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")

    assert changed(workshop, edit) == expected


def test_another_tokenizer_of_the_student_leaves_the_teachers_answers(workshop: Workshop) -> None:
    """Another student may follow, and no library is filled twice."""
    workshop.set("training.objective.type", "Sequence")
    assert changed(workshop, replace_student_tokenizer) == SAMPLES


def test_code_that_may_run_is_part_of_the_students_chat_format(workshop: Workshop) -> None:
    workshop.set("student.model.trustRemoteCode", True)
    assert changed(workshop, put("student/tokenization_own.py", "pass")) == SAMPLES


def test_two_students_with_one_chat_format_share_their_samples(workshop: Workshop) -> None:
    def other_weights(workshop: Workshop) -> None:
        shutil.copytree(workshop.root / "student", workshop.root / "larger")
        save_file({"weight": np.ones((7, 4), np.float32)}, workshop.root / "larger" / "model.safetensors")
        workshop.set("student.model.source", "larger")

    assert changed(workshop, other_weights) == STUDENT


def test_the_seed_changes_every_key_where_it_chooses_the_held_out_records(workshop: Workshop) -> None:
    write_records(workshop.root / "data" / "train.jsonl", [f"prompt {number}" for number in range(100)])
    workshop.drop("data.validation")
    assert changed(workshop, lambda job: job.set("generation.seed", 1)) == ALL


def test_a_file_of_its_own_in_place_of_held_out_records_changes_every_key(workshop: Workshop) -> None:
    assert changed(workshop, lambda job: job.drop("data.validation")) == ALL


DATED = "{{ strftime_now('%d %b %Y') }}{{ messages }}"


def ask_for_date(workshop: Workshop, *models: str) -> None:
    """Give models a chat template that writes today's date."""
    for model in models:
        (workshop.root / model / "tokenizer_config.json").write_text(json.dumps({"chat_template": DATED}))


DATES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "nobody asks": ((), NOTHING),
    "the teacher asks": (("teacher",), ALL),
    "the student asks": (("student",), SAMPLES),
    "both ask": (("teacher", "student"), ALL),
}


@pytest.mark.parametrize("name", DATES)
def test_the_day_enters_keys_only_where_a_template_asks_for_it(name: str, workshop: Workshop) -> None:
    models, expected = DATES[name]
    ask_for_date(workshop, *models)
    workshop.set("task.date", "2026-01-02")
    assert changed(workshop, lambda job: job.set("task.date", "2026-01-03")) == expected


def test_the_manifests_day_comes_before_the_jobs_and_that_before_the_clock(workshop: Workshop) -> None:
    job = workshop.stage_job().model_copy(update={"date": "2025-05-06"})
    assert date_of(job).isoformat() == "2025-05-06"
    workshop.set("task.date", "2024-03-04")
    named = workshop.stage_job().model_copy(update={"date": "2025-05-06"})
    assert date_of(named).isoformat() == "2024-03-04"


@pytest.mark.parametrize("price", [{"teacher": 2.5}, {"student": 0.8}])
def test_prices_change_no_key(price: dict[str, float], workshop: Workshop) -> None:
    assert changed(workshop, lambda job: setattr(job, "prices", Prices(**price))) == NOTHING


def test_the_same_files_elsewhere_and_later_change_no_key(workshop: Workshop) -> None:
    def move(workshop: Workshop) -> None:
        for name in ("teacher", "student", "data"):
            shutil.copytree(workshop.root / name, workshop.root / "moved" / name, copy_function=shutil.copy)
            shutil.rmtree(workshop.root / name)
        (workshop.root / "moved" / "data" / "train.jsonl").rename(workshop.root / "moved" / "data" / "other.jsonl")
        for model in ("teachers.0.model.source", "student.model.source"):
            workshop.set(model, f"moved/{model.split('.', maxsplit=1)[0].removesuffix('s')}")
        for split in ("train", "validation", "test"):
            workshop.set(f"data.{split}.uri", f"moved/data/{'other' if split == 'train' else split}.jsonl")

    assert changed(workshop, move) == NOTHING


def test_config_maps_count_by_what_they_hold(workshop: Workshop) -> None:
    def mount(workshop: Workshop) -> None:
        for split in ("train", "validation", "test"):
            folder = workshop.root / f"map-{split}"
            folder.mkdir()
            shutil.copy(workshop.root / "data" / f"{split}.jsonl", folder / "records.jsonl")
            workshop.config_maps[split] = str(folder)
            workshop.set(f"data.{split}", {"configMapKeyRef": {"name": split, "key": "records.jsonl"}})

    assert changed(workshop, mount) == NOTHING
    assert changed(workshop, append("map-test/records.jsonl", b'{"prompt": "one more"}\n')) == ALL


def test_spelling_every_default_out_changes_no_key(workshop: Workshop) -> None:
    def spell_out(workshop: Workshop) -> None:
        spec = workshop.stage_job().spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        spec["generation"] |= {"temperature": 0, "topLogprobs": 32}
        spec["training"] |= {"precision": "FP32", "maxLength": 64}
        spec["training"]["objective"] |= {"type": "CachedLogits", "ceWeight": 0}
        spec["teachers"][0]["model"]["dtype"] = "Float32"
        workshop.spec = spec

    assert changed(workshop, spell_out) == NOTHING


def test_spelling_the_labels_of_nli_out_changes_no_key(workshop: Workshop) -> None:
    workshop.set("task", {"type": "NLI"})
    assert changed(workshop, lambda job: job.set("task.labels", NLI)) == NOTHING


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
    task: dict[str, Any], samples: int, spelled: float | None, resolved: float, workshop: Workshop
) -> None:
    workshop.set("task", task)
    workshop.set("generation.samplesPerPrompt", samples)
    if spelled is not None:
        workshop.set("generation.temperature", spelled)
    found = workshop.resolve()
    assert found.sampling.temperature == resolved
    assert found.judge_sampling.temperature == 0, "validation and test are always answered greedily"


@pytest.mark.parametrize(
    ("other_tokenizer", "spelled", "k"),
    [(False, None, 32), (True, None, 32), (False, 0, 0), (True, 0, 0), (False, 8, 8), (True, 8, 8)],
)
def test_as_many_alternatives_are_stored_whatever_the_students_tokenizer(
    *, other_tokenizer: bool, spelled: int | None, k: int, workshop: Workshop
) -> None:
    if other_tokenizer:
        replace_student_tokenizer(workshop)
    if spelled is not None:
        workshop.set("generation.topLogprobs", spelled)
    found = workshop.resolve()
    assert (found.k, found.sampling.k, found.judge_sampling.k) == (k, k, k)


def given(workshop: Workshop) -> None:
    workshop.set("data.train.answers", "Given")


def no_logprobs(workshop: Workshop) -> None:
    workshop.set("generation.topLogprobs", 0)


OBSTACLES: dict[str, tuple[Edit, str, type[KubedistillError], str]] = {
    "answers are given": (given, "the answers are given", InvalidManifest, "Use Sequence"),
    "two tokenizers": (
        replace_student_tokenizer, "tokenizers differ, 3 and 4 ids", TokenizerMismatch, "Use Auto or Sequence",
    ),
    "no logprobs": (no_logprobs, "topLogprobs is 0", InvalidManifest, "Remove generation.topLogprobs"),
}  # fmt: skip


def test_auto_takes_the_stronger_objective_and_says_why(workshop: Workshop) -> None:
    found = workshop.resolve()
    assert (found.objective, found.objective_reason) == ("CachedLogits", "teacher and student share a tokenizer")


@pytest.mark.parametrize("name", OBSTACLES)
def test_auto_falls_back_to_sequence_and_names_the_obstacle(name: str, workshop: Workshop) -> None:
    edit, obstacle, _, _ = OBSTACLES[name]
    edit(workshop)
    found = workshop.resolve()
    assert found.objective == "Sequence"
    assert obstacle in found.objective_reason


@pytest.mark.parametrize("name", OBSTACLES)
def test_cached_logits_is_refused_with_the_obstacle_and_the_fix(name: str, workshop: Workshop) -> None:
    edit, obstacle, kind, fix = OBSTACLES[name]
    edit(workshop)
    workshop.set("training.objective.type", "CachedLogits")
    with pytest.raises(kind) as refused:
        workshop.resolve()
    assert obstacle in refused.value.problem
    assert (refused.value.at, refused.value.fix) == ("spec.training.objective.type", fix)


@pytest.mark.parametrize("objective", ["Sequence", "CachedLogits"])
def test_an_objective_that_is_spelled_is_taken(objective: str, workshop: Workshop) -> None:
    workshop.set("training.objective.type", objective)
    found = workshop.resolve()
    assert (found.objective, found.objective_reason) == (objective, "as the manifest says")


@pytest.mark.parametrize(
    ("source", "kind", "says"),
    [
        ({"uri": "gone.jsonl"}, InvalidData, "no such file"),
        ({"uri": "s3://bucket/data"}, InvalidManifest, "scheme 's3'"),
        ({"configMapKeyRef": {"name": "prompts", "key": "a"}}, InvalidManifest, "--configmap prompts=FOLDER"),
    ],
)
def test_data_that_is_not_there_is_refused_with_its_field(
    source: dict[str, Any], kind: type[KubedistillError], says: str, workshop: Workshop
) -> None:
    workshop.set("data.test", source)
    with pytest.raises(kind, match=r"^spec.data.test") as refused:
        workshop.resolve()
    assert says in str(refused.value)


def test_a_file_uri_is_decoded(workshop: Workshop, tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    shutil.copy(workshop.root / "data" / "test.jsonl", folder)
    assert changed(workshop, lambda job: job.set("data.test.uri", (folder / "test.jsonl").as_uri())) == NOTHING


def test_what_changed_while_the_job_ran_is_named(workshop: Workshop) -> None:
    job = workshop.stage_job("Curate", keys=workshop.keys())
    check_keys(job, workshop.resolve())
    append("student/config.json")(workshop)
    with pytest.raises(InvalidInput, match=r"^export, report, student: data or model files changed while the job ran"):
        check_keys(job, workshop.resolve())
