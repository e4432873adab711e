"""To add a task, objective, gate, metric, filter or export format is to add one row: each is added here, and works.

CONTRIBUTING.md has the table of rows. A value of a field of the spec is part of a row: `widened` adds it.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal, get_args

import pytest
import torch
from pydantic import BaseModel, create_model

from kubedistill.contract import StageJob
from kubedistill.contract.store_names import artifact_folder
from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Gate, Spec
from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill.v1alpha1.evaluation import Export
from kubedistill.v1alpha1.training import Objective as ObjectiveSpec
from kubedistill.v1alpha1.training import Training
from kubedistill_runtime import choices
from kubedistill_runtime.checks.gates import check_references
from kubedistill_runtime.curation.filters import FILTERS, FilterKind
from kubedistill_runtime.evaluation.gate import RULES, Rule, decide
from kubedistill_runtime.evaluation.metrics import METRICS, Metric
from kubedistill_runtime.export import FORMATS
from kubedistill_runtime.tasks import TASKS, Task
from kubedistill_runtime.tasks.task import check_single_turn
from kubedistill_runtime.training.objectives import OBJECTIVES, Objective
from kubedistill_runtime.training.objectives.requirements import stored_logprobs
from support import three_models
from support.job_folder import QUICKSTART, SPEC, JobFolder
from support.stage_runner import StageRunner

Widen = Callable[[type[BaseModel], str, str], None]


@pytest.fixture
def widened() -> Iterator[Widen]:
    """Let a field of the spec take one value more."""
    before = []

    def rebuild(model: type[BaseModel]) -> None:
        for one in (model, Training, Spec, StageJob):  # from the inside out
            one.model_rebuild(force=True)

    def widen(model: type[BaseModel], field: str, value: str) -> None:
        info = model.model_fields[field]
        before.append((model, info, info.annotation))
        info.annotation = Literal[(*get_args(info.annotation), value)]  # type: ignore[assignment]
        rebuild(model)

    yield widen
    for model, info, annotation in before:
        info.annotation = annotation
        rebuild(model)


def shout(text: str, spec: TaskSpec) -> str | None:
    return text if text.isupper() else None


def letters(answer: str | None, references: Sequence[str]) -> float:
    """Return the share of the first reference's letters that the answer has."""
    return len(set(answer or "") & set(references[0])) / len(set(references[0]))


def test_a_task(job_folder: JobFolder, runner: StageRunner, widened: Widen, monkeypatch: pytest.MonkeyPatch) -> None:
    widened(TaskSpec, "type", "Shouting")
    task = Task(check=check_single_turn, parse=shout, metrics=("exactMatch",), short_answers=True)
    monkeypatch.setitem(TASKS, "Shouting", task)
    job_folder.spec["task"] = {"type": "Shouting"}
    runner.says = lambda text: "YES" if text.endswith(("1", "2")) else "no"
    job_folder.set("curation.minKeepRatio", 0.0)
    curated = runner.run("Prepare", "Generate", "Curate").summary
    assert (curated.kept, curated.rejected) == (8, {"WrongFormat": 32})
    assert job_folder.resolve().sampling.temperature == 0, "its answers are short"


def test_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "letters", Metric(row=letters))
    monkeypatch.setitem(
        TASKS, "QA", Task(check=check_single_turn, parse=TASKS["QA"].parse, metrics=("letters", "chrf"))
    )
    said = {"teacher": ["yes"] * 40, "baseline": ["no"] * 40, "distilled": ["ye"] * 40}
    found = three_models.judged(**said, references=[("yes",)] * 40, task=TaskSpec(type="QA"))
    assert found.arms.distilled.metrics["letters"] == pytest.approx(2 / 3)
    assert found.arms.distilled.accuracy == pytest.approx(2 / 3), "the first metric of a task is its headline"
    assert (found.comparison.measure, found.arms.baseline.metrics["letters"]) == ("letters", 0)


def test_an_objective(job_folder: JobFolder, widened: Widen, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("kubedistill_runtime.training.objectives.reverse")
    module.loss = lambda batch, hidden_NH, head, ce_weight: hidden_NH.sum() * ce_weight  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    reverse = Objective(
        module="reverse", requirements=(stored_logprobs,), reason="it is new", weighs_cross_entropy=True
    )
    monkeypatch.setitem(OBJECTIVES, "Reverse", reverse)
    widened(ObjectiveSpec, "type", "Reverse")
    job_folder.set("training.objective", {"type": "Reverse", "ceWeight": 0.5})
    found = job_folder.resolve()
    assert (found.objective, found.ce_weight) == ("Reverse", 0.5)
    assert float(OBJECTIVES["Reverse"].load_loss()(None, torch.ones(2, 3), None, 0.5)) == 3  # type: ignore[arg-type]
    job_folder.set("generation.topLogprobs", 0)
    with pytest.raises(InvalidManifest) as refused:
        job_folder.resolve()
    assert refused.value.at == "spec.training.objective.type"


def test_auto_takes_the_first_objective_that_is_possible(
    job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"Reverse": Objective(module="reverse", requirements=(stored_logprobs,), reason="it is new"), **OBJECTIVES}
    monkeypatch.setattr(choices, "OBJECTIVES", rows)
    found = job_folder.resolve()
    assert (found.objective, found.objective_reason) == ("Reverse", "it is new")
    job_folder.set("generation.topLogprobs", 0)
    assert job_folder.resolve().objective == "Sequence"


def test_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    wider = create_model("WiderGate", __base__=Gate, min_agreement=(float | None, None))
    missed = "agreement is too low"
    agreed = Rule(
        lambda gate, found: missed if found.arms.distilled.agreement < gate.model_dump()["min_agreement"] else None,
        needs_references=True,
    )
    monkeypatch.setitem(RULES, "min_agreement", agreed)
    gate = wider(min_agreement=0.99)
    assert decide(gate, three_models.usual()).reasons == [missed]
    assert "minAgreement" in gate.limits
    spec = Spec.model_validate_json(json.dumps(SPEC), by_alias=True, by_name=False)
    asked = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"gate": gate})})
    with pytest.raises(InvalidManifest) as refused:
        check_references(asked, judged=0)
    assert refused.value.at == "spec.evaluation.gate.minAgreement"


def test_a_filter(job_folder: JobFolder, runner: StageRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    prime = FilterKind(make=lambda task, _: lambda answered: answered.answer.turns[0].text == task.answer_labels[0])
    monkeypatch.setitem(FILTERS, "Prime", prime)
    runner.says = lambda text: "yes" if text.endswith("7") else "no"
    curated = runner.run("Prepare", "Generate", "Curate").summary
    assert (curated.kept, curated.rejected) == (36, {"Prime": 4})


def test_an_export_format(
    job_folder: JobFolder, runner: StageRunner, widened: Widen, monkeypatch: pytest.MonkeyPatch
) -> None:
    widened(Export, "format", "Listing")

    def write_listing(student: Path, staging: Path) -> None:
        (staging / "listing.txt").write_text("\n".join(sorted(file.name for file in student.iterdir())))

    monkeypatch.setitem(FORMATS, "Listing", write_listing)
    job_folder.set("export", [{"format": "Listing", "uri": "out"}])
    student = artifact_folder("student", job_folder.keys()["student"])
    job_folder.store.put_folder(f"{student}/model", QUICKSTART / "student")
    runner.run("Export")
    assert "model.safetensors" in (job_folder.root / "out" / "listing.txt").read_text().splitlines()
