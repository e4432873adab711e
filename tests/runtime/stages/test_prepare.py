"""Prepare: the door. What it refuses is refused whether or not an earlier job has been through."""

import json
import shutil
from pathlib import Path

import pytest

from bench import Bench
from kubedistill.errors import InvalidManifest, InvalidModel, LowYield
from kubedistill_runtime.export.targets import fill, places
from kubedistill_runtime.records import Split, read_rows
from kubedistill_runtime.stages.generate import teacher_serving
from kubedistill_runtime.storage.artifacts import find, publish
from workshop import COUNTS, QUICKSTART, write_records


def rows_of(bench: Bench, split: Split) -> list[str]:
    return [record.id for record in read_rows(bench.workshop.store, bench.workshop.keys()["rows"], split)]


def test_rows_are_left_with_the_figures_of_the_funnel(bench: Bench) -> None:
    outcome = bench.run("Prepare")
    assert outcome.keys == bench.workshop.keys()
    assert outcome.summary == {
        "read": {"train": 40, "validation": 8, "test": 8},
        "dropped": {},
        "judged": 8,
        "notes": [],
        "counts": {"train": 40, "validation": 8, "test": 8},
        "heldOut": [],
        "objective": "CachedLogits",
        "objectiveReason": "teacher and student share a tokenizer",
        "topLogprobs": 32,
    }
    assert bench.engines.warmed == 1
    assert bench.engines.opened == 0


def test_with_rows_there_nothing_is_warmed_and_the_same_is_said(bench: Bench) -> None:
    first = bench.run("Prepare")
    again = bench.run("Prepare")
    assert (again.keys, again.summary) == (first.keys, first.summary)
    assert bench.engines.warmed == 1


def test_a_split_without_a_file_is_held_out_of_train(bench: Bench) -> None:
    bench.workshop.drop("data.test")
    prompts = [f"train asks {number}" for number in range(100)]
    write_records(bench.workshop.root / "data" / "train.jsonl", prompts)
    summary = bench.run("Prepare").summary
    assert (summary["counts"], summary["heldOut"]) == ({"train": 90, "validation": 8, "test": 10}, ["test"])
    assert not set(rows_of(bench, "train")) & set(rows_of(bench, "test"))


def test_records_are_named_after_their_split_whatever_their_file_is_called(bench: Bench) -> None:
    """Two ConfigMaps may well have the same key."""
    for split in ("train", "test"):
        folder = bench.workshop.root / split
        folder.mkdir()
        shutil.copy(bench.workshop.root / "data" / f"{split}.jsonl", folder / "records.jsonl")
        bench.workshop.config_maps[split] = str(folder)
        bench.workshop.set(f"data.{split}", {"configMapKeyRef": {"name": split, "key": "records.jsonl"}})
    bench.run("Prepare")
    assert (rows_of(bench, "train")[0], rows_of(bench, "test")[0]) == ("train-000001", "test-000001")


def without_references(bench: Bench, *, split: str) -> None:
    path = bench.workshop.root / "data" / f"{split}.jsonl"
    count = len(path.read_text().splitlines())
    write_records(path, [f"{split} asks {number}" for number in range(count)], reference=None)


@pytest.mark.parametrize("been_through", [False, True])
def test_given_answers_need_references(*, been_through: bool, bench: Bench) -> None:
    without_references(bench, split="train")
    if been_through:
        bench.run("Prepare")
    bench.workshop.set("data.train.answers", "Given")
    with pytest.raises(InvalidManifest, match=r"^spec.data.train: .*train.jsonl: answers are Given, and 40 records"):
        bench.run("Prepare")


@pytest.mark.parametrize("been_through", [False, True])
@pytest.mark.parametrize("gate", ["minAccuracy", "minGain", "minGapClosed", "minRetention"])
def test_gates_on_accuracy_need_references(gate: str, *, been_through: bool, bench: Bench) -> None:
    without_references(bench, split="test")
    if been_through:
        bench.run("Prepare")
    bench.workshop.set(f"evaluation.gate.{gate}", 0.1)
    with pytest.raises(InvalidManifest, match=r"^spec.evaluation.gate.") as refused:
        bench.run("Prepare")
    assert refused.value.at == f"spec.evaluation.gate.{gate}"
    assert refused.value.problem.startswith("0 test records have a reference")


@pytest.mark.parametrize("been_through", [False, True])
def test_a_student_without_a_template_is_refused_before_the_teacher_is_asked(
    *, been_through: bool, bench: Bench, tmp_path: Path
) -> None:
    if been_through:
        bench.run("Prepare")
    folder = tmp_path / "base-model"
    shutil.copytree(QUICKSTART / "student", folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    bench.workshop.set("student.model.source", str(folder))
    with pytest.raises(InvalidModel, match=r"^spec.student.model.source: .* has no chat template"):
        bench.run("Prepare")


@pytest.mark.parametrize("been_through", [False, True])
@pytest.mark.parametrize(
    ("field", "at"),
    [("teachers.0.model.maxModelLen", "spec.teachers[0].model.maxModelLen"), ("training.maxLength",) * 2],
)
def test_more_tokens_than_a_model_was_made_for_are_refused(
    field: str, at: str, *, been_through: bool, bench: Bench
) -> None:
    if been_through:
        bench.run("Prepare")
    bench.workshop.set(field, 513)
    with pytest.raises(InvalidManifest, match=r"513 tokens are wanted, and .* was made for 512") as refused:
        bench.run("Prepare")
    assert refused.value.at.endswith(at)


def test_a_job_that_names_no_length_fits_its_models(bench: Bench) -> None:
    bench.workshop.drop("teachers.0.model.maxModelLen")
    assert bench.run("Prepare", "Generate", "Curate").summary["kept"] == 40
    assert teacher_serving(bench.workshop.stage_job(), bench.workshop.resolve()).max_model_len == 512


def spoil(bench: Bench, *, split: str, ratio: float) -> None:
    """Have the teacher never come to an end on a share of a split."""
    count = COUNTS[split]
    last = f"{split} asks "
    bench.says = lambda text: "no " * 40 if text.startswith(last) and int(text[len(last) :]) < ratio * count else "yes"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_higher_least_share_of_answers_is_asked_of_what_is_there(split: str, bench: Bench) -> None:
    bench.workshop.set("generation.minSuccessRatio", 0.5)
    spoil(bench, split=split, ratio=0.25)
    bench.run("Prepare", "Generate")
    keys, count = bench.workshop.keys(), COUNTS[split]
    bench.workshop.set("generation.minSuccessRatio", 0.75)
    bench.run("Prepare")
    bench.workshop.set("generation.minSuccessRatio", 0.76)
    with pytest.raises(LowYield) as refused:
        bench.run("Prepare")
    assert bench.workshop.keys() == keys
    assert refused.value.at == "spec.generation.minSuccessRatio"
    assert refused.value.problem.startswith(f"{count * 3 // 4} of {count} {split} answers came to their end")


def test_a_higher_least_share_of_kept_prompts_is_asked_of_what_is_there(bench: Bench) -> None:
    bench.says = lambda text: "maybe" if int(text.rpartition(" ")[2]) < 10 and text.startswith("train") else "yes"
    bench.run("Prepare", "Generate", "Curate")
    keys = bench.workshop.keys()
    bench.workshop.set("curation.minKeepRatio", 0.75)
    bench.run("Prepare")
    bench.workshop.set("curation.minKeepRatio", 0.8)
    with pytest.raises(LowYield) as refused:
        bench.run("Prepare")
    assert bench.workshop.keys() == keys
    assert refused.value.at == "spec.curation.minKeepRatio"
    assert refused.value.problem == "75.0% of the prompts keep an answer, below minKeepRatio 80.0% (10 WrongFormat)"


def test_a_lower_least_share_lets_through_what_was_refused(bench: Bench) -> None:
    spoil(bench, split="train", ratio=0.5)
    with pytest.raises(LowYield):
        bench.run("Prepare", "Generate")
    for field in ("generation.minSuccessRatio", "curation.minKeepRatio"):
        bench.workshop.set(field, 0.5)
    assert bench.run("Prepare", "Generate", "Curate").summary["keepRatio"] == 0.5
    assert bench.run("Generate").summary["generated"] == 0


def test_a_refusal_leaves_no_artifact(bench: Bench) -> None:
    without_references(bench, split="test")
    bench.workshop.set("evaluation.gate.minGain", 0.1)
    with pytest.raises(InvalidManifest):
        bench.run("Prepare")
    assert not (bench.workshop.store.root / "artifacts").exists()


def exported(bench: Bench, *, uri: str | None, by: str | None = None) -> Path:
    """The place of this job's export, filled by it or by another job; its artifact is complete."""
    bench.workshop.set("export", [{"uri": uri} if uri else {}])
    key, store = bench.workshop.keys()["export"], bench.workshop.store
    (place,) = places(bench.workshop.stage_job().spec.export, data_root=bench.workshop.root, store=store, key=key)
    fill(place, key=by or key, write=lambda folder: (folder / "weights").touch())
    publish(store, "export", key, {"exports": []})
    return place


def is_complete(bench: Bench) -> bool:
    bench.run("Prepare")
    return find(bench.workshop.store, "export", bench.workshop.keys()["export"]).complete


@pytest.mark.parametrize("uri", ["out", None])
def test_an_export_that_is_in_its_place_is_not_made_again(uri: str | None, bench: Bench) -> None:
    exported(bench, uri=uri)
    assert is_complete(bench)


@pytest.mark.parametrize("uri", ["out", None])
def test_an_export_that_was_removed_is_to_be_made_again(uri: str | None, bench: Bench) -> None:
    shutil.rmtree(exported(bench, uri=uri))
    assert not is_complete(bench)


def test_an_export_that_another_job_replaced_is_to_be_made_again(bench: Bench) -> None:
    exported(bench, uri="out", by="another job's key")
    assert not is_complete(bench)
