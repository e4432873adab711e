"""What the tests of the api share: a minimal job, a report, and specs drawn from the CRD's own schema."""

import copy
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kubedistill.contract.summaries import GateVerdict
from kubedistill.report.models import Arm, Arms, Comparison, Funnel, Provenance, Reductions, Report, TrainingRecord
from kubedistill.schema.crd import Schema, job_schema
from kubedistill.v1alpha1 import label_key
from kubedistill.v1alpha1.base import HTTP_URL, ONE_LINE, SOME_LINES
from kubedistill.v1alpha1.data import FUNCTION
from kubedistill.v1alpha1.task import REASONED
from support.sample_reports import make_values

Values = dict[str, Any]
MINIMAL_JOB: Values = {
    "apiVersion": "kubedistill.io/v1alpha1",
    "kind": "DistillationJob",
    "metadata": {"name": "support"},
    "spec": {
        "task": {"type": "Classification", "labels": ["billing", "delivery"]},
        "teachers": [{"name": "main", "model": {"source": "teacher"}}],
        "student": {"model": {"source": "student"}},
        "data": {"train": {"uri": "train.jsonl"}},
    },
}
TEXTS = st.text("abcXYZ019 /:._-é漢😀", min_size=1, max_size=12)
PATTERNS: dict[str, SearchStrategy[str]] = {
    r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$": st.sampled_from(["4", "500m", "1.5", "16Gi"]),
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$": st.dates().map(lambda day: day.isoformat()),
    FUNCTION: st.sampled_from(["pii:mask", "tools.pii_2:_mask"]),
    ONE_LINE.pattern: TEXTS,
    HTTP_URL.pattern: st.just("https://gateway.example.com/v1"),
    SOME_LINES.pattern: TEXTS,
}
FORMS: list[Values] = [{"regex": "[a-z]+"}, {"jsonSchema": {"type": "object"}}, {"labels": ["yes", "no"]}]
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?", fullmatch=True)


@pytest.fixture
def job_values() -> Values:
    """Return the shortest job that is valid, to be changed at will."""
    return copy.deepcopy(MINIMAL_JOB)


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a script in the place of the runtime, for this process and those that it starts."""
    folder = tmp_path_factory.mktemp("path")
    package = folder / "kubedistill_runtime"
    package.mkdir()
    for name in (package / "__init__.py", folder / "ray.py", folder / "vllm.py"):
        name.touch()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))

    def write(script: str) -> None:
        (package / "__main__.py").write_text(f"import json, os, signal, sys, time\n{script}\n")

    return write


@pytest.fixture(scope="session")
def valid_specs() -> SearchStrategy[Values]:
    """Return specs that are valid in every way; any field may be there."""
    return _valid_spec(_drawn_from(job_schema()["properties"]["spec"]))


@pytest.fixture(scope="session")
def with_defaults() -> Callable[[Any, Schema], Any]:
    """Return what the API server makes of an object: absent fields get their defaults, from the outside in."""
    return _with_defaults


def _drawn_from(schema: Schema) -> SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "additionalProperties" in schema:
        return st.dictionaries(NAMES, _drawn_from(schema["additionalProperties"]), max_size=3)
    if "x-kubernetes-preserve-unknown-fields" in schema:
        return st.sampled_from([{}, {"type": "object", "properties": {"a": {"enum": [1, 0.5, "b"]}}}])
    if schema["type"] == "object":
        fields = {name: _drawn_from(field) for name, field in schema["properties"].items()}
        required = schema.get("required", [])
        return st.fixed_dictionaries(
            {name: fields[name] for name in required},
            optional={name: field for name, field in fields.items() if name not in required},
        )
    if schema["type"] == "array":
        return st.lists(
            _drawn_from(schema["items"]), min_size=schema.get("minItems", 0), max_size=min(4, schema["maxItems"])
        )
    if schema["type"] == "string":
        return PATTERNS.get(schema.get("pattern", ""), NAMES if "pattern" in schema else TEXTS)
    if schema["type"] == "boolean":
        return st.booleans()
    least, most = schema["minimum"], schema["maximum"]
    if schema["type"] == "integer":
        return st.integers(least, most)
    return st.floats(least, most, exclude_min=schema.get("exclusiveMinimum", False)) | st.just(most)


@st.composite
def _valid_spec(draw: st.DrawFn, specs: SearchStrategy[Values]) -> Values:
    """Return a spec that the schema allows, with what the CEL rules forbid put right."""
    spec = draw(specs)
    task = spec["task"]
    if task["type"] in ("Classification", "NLI"):
        labels = {label_key(label): label.strip() for label in task.get("labels", []) if label.strip()}
        task["labels"] = list(labels.values()) if len(labels) > 1 else ["yes", "no"]
    else:
        task.pop("labels", None)
    if task["type"] not in REASONED:
        task.pop("chainOfThought", None)
    if task["type"] != "Text":
        task.pop("prompt", None)
        task.pop("answer", None)
    if "answer" in task:
        task["answer"] = draw(st.sampled_from(FORMS)) | {}
    spec["teachers"] = list({teacher["name"]: teacher for teacher in spec["teachers"]}.values())
    if task["type"] != "Summarization":
        task.pop("maxSummaryWords", None)
        task.pop("chainOfDensity", None)
    for teacher in spec["teachers"]:
        _make_one_kind(teacher)
    for source in (part for part in spec["data"].values() if isinstance(part, dict)):
        if "uri" in source:
            source.pop("configMapKeyRef", None)
        elif "configMapKeyRef" not in source:
            source["uri"] = "data.jsonl"
    if spec["data"]["train"].get("targets") == "All":
        spec["data"]["train"]["answers"] = "Given"
    spec.get("training", {}).get("objective", {}).pop("temperature", None)
    if "budget" in spec:
        spec["budget"].setdefault("gpuHours", 8)
        if any("prices" not in teacher.get("endpoint", {"prices": {}}) for teacher in spec["teachers"]):
            spec["budget"].pop("dollars", None)
    return spec


def _make_one_kind(teacher: Values) -> None:
    """Leave a teacher its endpoint, or a model."""
    if "endpoint" not in teacher:
        teacher.setdefault("model", {"source": "teacher"})
        return
    for field in ("model", "resources"):
        teacher.pop(field, None)
    endpoint = teacher["endpoint"]
    endpoint.pop("apiVersion", None)
    if endpoint.get("api") == "AzureOpenAI":
        endpoint |= {"apiVersion": "2024-10-21", "url": "https://team.example.com"}
    if endpoint.get("api") == "Anthropic":
        endpoint.pop("tokenizer", None)


def _with_defaults(value: Any, schema: Schema) -> Any:
    if isinstance(value, list):
        return [_with_defaults(one, schema["items"]) for one in value]
    if not isinstance(value, dict):
        return value
    fields = schema.get("properties", {})
    missing = {name: field["default"] for name, field in fields.items() if "default" in field and name not in value}
    return {name: _with_defaults(one, fields[name]) for name, one in (value | missing).items()} if fields else value


def _arm(*, accuracy: float | None, agreement: float, scale: int, cost: float | None) -> Arm:
    return Arm(
        accuracy=accuracy,
        agreement=agreement,
        invalid_rate=0.01,
        metrics={},
        parameters=295_392 * scale,
        memory_bytes=3 * 2**20 * scale,
        peak_memory_bytes=2**30,
        latency_seconds=0.012 * scale,
        latency_p95_seconds=0.02 * scale,
        throughput_per_hour=1_200_000 / scale,
        cost_per_thousand=cost,
        hardware="cpu",
    )


@pytest.fixture(scope="session")
def report() -> Report:
    """Return a job that went well: the student closed 80 % of the gap to a teacher ten times its size."""
    values = make_values()
    return Report(
        arms=Arms(
            teacher=_arm(accuracy=0.9, agreement=1.0, scale=10, cost=0.5),
            baseline=_arm(accuracy=0.4, agreement=0.45, scale=1, cost=0.05),
            distilled=_arm(accuracy=0.8, agreement=0.85, scale=1, cost=0.05),
        ),
        comparison=Comparison(
            measure="accuracy",
            retention=0.8889,
            gain=0.4,
            gap_closed=0.8,
            p_value=1e-9,
            ci95=(0.35, 0.45),
            verdict="better",
            rows=1000,
        ),
        reductions=Reductions(latency=0.9, memory=0.9, cost=0.9),
        gate=GateVerdict(passed=True, reasons=[]),
        data=Funnel.model_validate(values["data"]),
        training=TrainingRecord.model_validate(values["training"]),
        labels=[],
        examples=[],
        provenance=Provenance.model_validate(values["provenance"]),
    )
