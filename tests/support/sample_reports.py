"""Made-up reports: all known, all unknown, and one whose every text wants to be run."""

from typing import Any

from kubedistill.report.models import Report

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> & $\\frac{1}$ | `x`'


def make_arm(accuracy: float | None, **values: Any) -> dict[str, Any]:
    return {
        "accuracy": accuracy,
        "accuracyCi95": None if accuracy is None else [accuracy - 0.05, accuracy + 0.05],
        "agreement": 0.8,
        "invalidRate": 0.025,
        "metrics": {"accuracy": accuracy or 0.0, "macroF1": 0.625},
        "parameters": 295_392,
        "memoryBytes": 1_247_104,
        "peakMemoryBytes": 2**31,
        "latencySeconds": 0.011,
        "latencyP95Seconds": 0.016,
        "throughputPerHour": 6_314_014.0,
        "costPerThousand": 0.0016,
        "hardware": "cpu, 2 cores",
        **values,
    }


def make_values() -> dict[str, Any]:
    """Return a report as JSON values: everything known, and the gate passed."""
    losses = [2.0, 1.0, 0.5, 0.25]
    return {
        "arms": {
            "teacher": make_arm(0.9, parameters=2_558_400, costPerThousand=0.02),
            "baseline": make_arm(0.4),
            "distilled": make_arm(0.8),
        },
        "comparison": {
            "measure": "accuracy",
            "retention": 0.8889,
            "gain": 0.4,
            "gapClosed": 0.8,
            "pValue": 1e-9,
            "ci95": [0.357, 0.429],
            "verdict": "better",
            "rows": 1000,
        },
        "reductions": {"latency": 0.55, "memory": 0.88, "cost": 0.92},
        "gate": {"passed": True, "reasons": []},
        "data": {
            "read": {"train": 1200, "validation": 300, "test": 1000},
            "heldOut": [],
            "dropped": {"TooLong": {"train": 3}, "Duplicate": {"test": 2}},
            "counts": {"train": 1197, "validation": 300, "test": 1000},
            "asked": 1197,
            "kept": 1195,
            "rejected": {"Unfinished": 2},
            "keepRatio": 0.998,
        },
        "training": {
            "objective": "CachedLogits",
            "objectiveReason": "teacher and student share a tokenizer",
            "samples": 1195,
            "steps": 4,
            "bestStep": 3,
            "validationLoss": 0.9,
            "overlong": 0,
            "withoutLogprobs": 0,
            "workers": 1,
            "topLogprobs": 32,
            "curve": {
                "train": [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)],
                "validation": [{"step": 2, "loss": 1.1}, {"step": 4, "loss": 0.9}],
                "bestStep": 4,
            },
        },
        "labels": [
            {"label": "near", "rows": 34, "teacher": 0.9, "baseline": 0.5, "distilled": 0.88},
            {"label": "far", "rows": 27, "teacher": 0.9, "baseline": 0.2, "distilled": 0.3},
        ],
        "examples": [
            {
                "id": "t1",
                "prompt": "The ledger is wrong.",
                "reference": "near",
                "teacher": "near",
                "baseline": "far",
                "distilled": " Near",
            },
        ],
        "provenance": {
            "job": "default/j",
            "run": "local",
            "specDigest": "fcfcdb22",
            "at": "2026-11-24T20:46:46.601Z",
            "task": "Classification",
            "artifacts": {"rows": "77f36eca"},
            "seeds": {"generation": 0, "training": 0},
            "teacher": {"source": "teacher", "digest": "09c156bde30ae3657037"},
            "student": {"source": "student", "digest": "cd07be0d82ba9446eb8b"},
            "hardware": "cpu, 2 cores",
            "versions": {"torch": "2.13.0"},
        },
    }


def change(values: dict[str, Any], **paths: Any) -> dict[str, Any]:
    """Set values by path; arms__teacher__hardware is values["arms"]["teacher"]["hardware"]."""
    for path, value in paths.items():
        *parents, last = path.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        place[last] = value
    return values


def make_report(**paths: Any) -> Report:
    return Report.model_validate(change(make_values(), **paths))


def make_unknown() -> Report:
    """No references, no prices, other hardware, no gap, no validation, no reference split, no label."""
    unknown = {
        "comparison__measure": "agreement with the teacher",
        "comparison__gapClosed": None,
        "comparison__retention": None,
        "comparison__verdict": "not distinguishable",
        "comparison__pValue": 0.31,
        "reductions": {"latency": None, "memory": -0.25, "cost": None},
        "labels": [],
        "arms__teacher__hardware": "NVIDIA H200",
        "provenance__task": "Conversation",
        "data__read": {"train": 1200},
        "data__heldOut": ["validation", "test"],
        "data__rejected": {},
        "gate": {"passed": False, "reasons": ["gap closed is not known, but minGapClosed requires 0.6"]},
        "training__curve__validation": [],
        "training__curve__bestStep": 0,
        "training__validationLoss": None,
    }
    values = change(make_values(), **unknown)
    values["examples"][0]["reference"] = None
    for arm in values["arms"].values():
        arm |= {"accuracy": None, "accuracyCi95": None, "costPerThousand": None, "metrics": {"chrf": 0.3, "bleu": 0.1}}
    return Report.model_validate(values)


REPORTS = {
    "all known": make_report(),
    "all unknown": make_unknown(),
    "hostile": make_report(
        examples=[{"id": HOSTILE, "prompt": HOSTILE, "reference": HOSTILE, "teacher": HOSTILE, "baseline": HOSTILE,
                   "distilled": HOSTILE}],
        labels=[{"label": HOSTILE, "rows": 1, "teacher": 1.0, "baseline": 0.0, "distilled": 1.0}],
        gate={"passed": False, "reasons": [HOSTILE]}, training__objectiveReason=HOSTILE, data__rejected={HOSTILE: 1},
        provenance__teacher={"source": HOSTILE, "digest": HOSTILE}, arms__teacher__hardware=HOSTILE,
    ),
}  # fmt: skip


MOVED = "measured in pool h200, and the price is that of pool cheap"
"""Why a cost is not known although there is a price."""
COSTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "both known": ({}, []),
    "no price": (
        {"arms__teacher__costPerThousand": None, "arms__distilled__costPerThousand": None},
        ["cost is unknown without a price of the hardware"],
    ),
    "no price of the teacher": (
        {"arms__teacher__costPerThousand": None}, ["the teacher's cost is unknown without a price of its hardware"],
    ),
    "no price of the student": (
        {"arms__distilled__costPerThousand": None}, ["the student's cost is unknown without a price of its hardware"],
    ),
    "the teacher moved": (
        {"arms__teacher__costPerThousand": None, "provenance__unpriced": {"teacher": MOVED}},
        [f"the teacher's cost is unknown: {MOVED}"],
    ),
    "the student moved": (
        {"arms__distilled__costPerThousand": None, "provenance__unpriced": {"student": MOVED}},
        [f"the student's cost is unknown: {MOVED}"],
    ),
    "both moved": (
        {"arms__teacher__costPerThousand": None, "arms__distilled__costPerThousand": None,
         "provenance__unpriced": {"teacher": MOVED, "student": MOVED}},
        [f"the teacher's cost is unknown: {MOVED}", f"the student's cost is unknown: {MOVED}"],
    ),
    "the student moved, and no price of the teacher": (
        {"arms__teacher__costPerThousand": None, "arms__distilled__costPerThousand": None,
         "provenance__unpriced": {"student": MOVED}},
        [f"the student's cost is unknown: {MOVED}", "the teacher's cost is unknown without a price of its hardware"],
    ),
}  # fmt: skip
"""Changes of a report, and what it says of its costs."""
