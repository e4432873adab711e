"""Trials: the quickstart with a few fields changed, run by the product's own entry and judged row by row."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kubedistill.contract.artifacts import DatasetFigures, JudgeFigures
from kubedistill.contract.store_names import artifact_folder
from kubedistill.manifest.loading import load_manifest
from kubedistill.report.models import Report
from kubedistill.v1alpha1 import API_VERSION, KIND, Filters, spec_values
from kubedistill_runtime.answers import Answer, AnsweredRecord, encode_answers
from kubedistill_runtime.checkpoints import find_model
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.curation.dataset import read_dataset, write_dataset
from kubedistill_runtime.evaluation.arms import parse_replies
from kubedistill_runtime.evaluation.metrics import score_of
from kubedistill_runtime.evaluation.statistics import Scores
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.pipeline import LocalRun
from kubedistill_runtime.records import read_rows
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.storage.artifacts import find, publish, read_figures, trained_folder
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.student_format import student_serving
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from kubedistill_runtime.teachers.batches import collect_answers
from kubedistill_runtime.teachers.cache import AnswerCache, make_rows, model_key

QUICKSTART = Path(__file__).resolve().parents[1] / "examples/quickstart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What differs between two runs of the quickstart."""

    name: str
    objective: str
    temperature: float
    """At which the teacher answers the training prompts."""
    learning_rate: float
    epochs: int
    seed: int
    test: Path
    teacher: str = "teacher"
    """Folder of the quickstart."""
    answers: str = "Teacher"
    filtered: bool = True
    """Whether the filters that can be switched off judge the answers."""
    max_steps: int | None = None
    """Steps after which training ends; None trains all epochs."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Parts of the spec that replace the others, such as its teachers."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One finished trial: its report, its score on each test record, and what its run took."""

    report: Report
    scores: Scores
    seconds: float
    load: float
    """The machine's load over the last minute when the run ended, other people's work included."""


def run_trial(trial: Trial, *, folder: Path, store: Store) -> Outcome:
    """Run what is missing of a trial in the store, and read its outcome; exits where the run fails."""
    manifest = write_manifest(trial, folder=folder / "manifests")
    run, choices = _resolve(manifest, store=store)
    took = store.path(f"trials/{trial.name}.json")
    if not (find(store, "report", choices.keys["report"]).complete and took.exists()):
        started = time.monotonic()
        _start(manifest, store=store, log=store.path(f"trials/{trial.name}.log"))
        took.write_text(json.dumps({"seconds": time.monotonic() - started, "load": os.getloadavg()[0]}))
    report = Report.model_validate_json(store.read(f"{artifact_folder('report', choices.keys['report'])}/report.json"))
    scores = score_rows(run, choices, store=store)
    assert report.arms.distilled.accuracy == float(scores.mean()), "these are the rows that the report is about"
    return Outcome(report, scores, **json.loads(took.read_text()))


def write_manifest(trial: Trial, *, folder: Path) -> Path:
    """Write the quickstart's manifest with the trial's fields, and without its gate; returns its path."""
    spec: dict[str, Any] = spec_values(load_manifest(QUICKSTART / "job.yaml").spec)
    spec["teachers"][0]["model"]["source"] = str(QUICKSTART / trial.teacher)
    spec["student"]["model"]["source"] = str(QUICKSTART / "student")
    for split in ("train", "validation"):
        spec["data"][split] = {"uri": str(QUICKSTART / f"data/{split}.jsonl")}
    spec["data"]["train"]["answers"] = trial.answers
    spec["data"]["test"] = {"uri": str(trial.test)}
    spec["generation"]["temperature"] = trial.temperature
    spec["training"] |= {"objective": {"type": trial.objective}, "epochs": trial.epochs, "seed": trial.seed}
    spec["training"]["optimizer"]["learningRate"] = trial.learning_rate
    if trial.max_steps is not None:
        spec["training"]["maxSteps"] = trial.max_steps
    if not trial.filtered:
        spec["curation"] = {"filters": dict.fromkeys(Filters().model_dump(by_alias=True), False), "minKeepRatio": 0.0}
    spec["evaluation"] = {"gate": {"requireSignificance": False}}
    spec |= trial.changes
    values = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": trial.name}, "spec": spec}
    path = folder / f"{trial.name}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1))  # JSON is YAML
    return path


def shuffle_teacher(trial: Trial, *, folder: Path, source: Store, target: Store) -> None:
    """Copy all that a finished trial's teacher left to another store, with its answers redistributed.

    The dataset and the validation answers are shuffled, since the student learns from one and its best weights are
    chosen by the other. The test is not: it judges. A run of the same manifest in the target trains on what it finds.
    """
    keys, generator = resolve_trial(trial, folder=folder, store=source).keys, np.random.default_rng(trial.seed)
    if find(target, "dataset", keys["dataset"]).complete:
        return
    for part in ("rows", *(artifact_folder(name, keys[name]) for name in ("rows", "answers", "judge"))):
        shutil.copytree(source.path(part), target.path(part), dirs_exist_ok=True)
    judged = list(read_answer_set(source, "judge", keys["judge"], "validation"))
    validation = deal_answers(judged, generator=generator)
    shard = "rows/shuffled/validation.parquet"
    target.put(shard, encode_answers(one.answer for one in validation))
    judge = read_figures(source, "judge", keys["judge"], JudgeFigures)
    shuffled = judge.splits["validation"].model_copy(update={"shards": [shard]})
    judge = judge.model_copy(update={"splits": {**judge.splits, "validation": shuffled}})
    publish(target, "judge", keys["judge"], judge, files=[shard])
    dataset = list(read_dataset(source, keys["dataset"]))
    write_dataset(target, artifact_folder("dataset", keys["dataset"]), deal_answers(dataset, generator=generator))
    publish(target, "dataset", keys["dataset"], read_figures(source, "dataset", keys["dataset"], DatasetFigures))


def deal_answers(answered: Sequence[AnsweredRecord], *, generator: np.random.Generator) -> list[AnsweredRecord]:
    """Redistribute single-turn answers at random: ids, text and logprobs move together, and each prompt stays."""
    dealt = []
    for own, place in zip(answered, generator.permutation(len(answered)), strict=True):
        (prompt,), (reply,) = own.answer.turns, answered[place].answer.turns
        turn = replace(reply, prompt_ids=prompt.prompt_ids)
        dealt.append(replace(own, answer=Answer(own.answer.row_key, (turn,))))
    return dealt


def resolve_trial(trial: Trial, *, folder: Path, store: Store) -> Choices:
    """Return every choice and key of a trial."""
    return _resolve(write_manifest(trial, folder=folder / "manifests"), store=store)[1]


def _resolve(manifest: Path, *, store: Store) -> tuple[LocalRun, Choices]:
    run = LocalRun(job=load_manifest(manifest), data_root=manifest.parent, store=store)
    return run, resolve(run.stage_job("Prepare", attempt=1, keys={}), store=store)


def _start(manifest: Path, *, store: Store, log: Path) -> None:
    """Run the manifest as `kubedistill run` does."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "kubedistill_runtime", "--bound-to-parent", "--manifest", str(manifest)]
    with log.open("w") as output:
        ended = subprocess.run([*command, "--store", str(store.root)], stdout=output, stderr=output, check=False)
    if ended.returncode:
        sys.exit(f"{manifest.stem} ended with exit code {ended.returncode}; see {log}")


def score_rows(run: LocalRun, choices: Choices, *, store: Store) -> Scores:
    """Return the distilled student's score on each test record, from the answers that Evaluate left in the library."""
    spec, folder = run.job.spec, store.path(f"{trained_folder(store, choices.keys['student'])}/model")
    model = find_model(str(folder), trust_remote_code=False, data_root=folder, store=store, at="artifacts/student")
    key = model_key(
        student_serving(model, choices=choices), sampling=Sampling(max_tokens=spec.generation.max_tokens), seed=0
    )
    rows = make_rows(read_rows(store, choices.keys["rows"], "test"), key=key, samples=1)
    answers = list(collect_answers(rows, cache=AnswerCache(store, key)))
    score = score_of("accuracy")
    replies = [parse_replies(one, task=spec.task) for one in answers]
    last = [None if some is None else some[-1] for some in replies]
    return np.array([score(text, one.record.references) for text, one in zip(last, answers, strict=True)])
