"""What two runs of the same job must have in common, whatever happened on the way."""

import hashlib
import json
from pathlib import Path
from typing import Any

TIMED = ("seconds", "serving", "at", "files", "latencyNoise")
"""What a manifest has of times; a report's file that holds some may be a digit longer."""


def published_shards(store: Path) -> dict[str, str]:
    """Return the digest of every shard of answers, by name."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.glob("rows/*/*.parquet"))
    }


def facts_of(store: Path) -> dict[str, Any]:
    """Return shards, manifests without times, the dataset, the samples, the curve and the student's weights."""
    facts: dict[str, Any] = dict(published_shards(store))
    for path in sorted(store.glob("artifacts/*/*/manifest.json")):
        values = json.loads(path.read_text())
        facts[path.parent.parent.name] = {key: value for key, value in values.items() if key not in TIMED}
    for name in (
        "dataset/*/*",
        "samples/*/*",
        "student/*/trained/curve.json",
        "student/*/trained/model/model.safetensors",
    ):
        for path in sorted(store.glob(f"artifacts/{name}")):
            facts[str(path.relative_to(store))] = hashlib.sha256(path.read_bytes()).hexdigest()
    facts["leftOver"] = sorted(
        str(path.relative_to(store))
        for pattern in ("**/.tmp-*", "artifacts/student/*/steps/*", "runs/*/processes.json")
        for path in store.glob(pattern)
    )
    return facts
