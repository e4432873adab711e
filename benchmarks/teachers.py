"""Teachers: what a student gains from two teachers that are routed by tag over the worse one alone, and at which cost.

The worse teacher is the untrained student. The quickstart's records are tagged with the topic of their label; the good
teacher answers two of the topics, the worse one all others. Everything is under build/bench-teachers and continues
from there when it is started again.
"""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from trials import QUICKSTART, Outcome, Trial, run_trial

from kubedistill_runtime.evaluation.statistics import SIGNIFICANT, Difference, compare
from kubedistill_runtime.serving.hardware import describe_processor
from kubedistill_runtime.storage.store import open_store

FOLDER = Path(__file__).resolve().parents[1] / "build/bench-teachers"
SEEDS = (0, 1, 2)
ROUTED_TOPICS = 2
LEARNING_RATE, EPOCHS = 1e-3, 4  # the rate of benchmarks/quality.py


def main() -> int:
    """Measure both arms; returns 1 where the routed teachers are not better in each seed."""
    shutil.rmtree(FOLDER / "data", ignore_errors=True)
    topics = write_tagged_data()
    routed = [run_arm("routed", seed=seed, teachers=routed_teachers(topics)) for seed in SEEDS]
    alone = [run_arm("alone", seed=seed, teachers=[teacher("worse", "student")]) for seed in SEEDS]
    differences = [
        compare_outcomes(one, other, seed=seed) for seed, one, other in zip(SEEDS, routed, alone, strict=True)
    ]
    figures = figures_of(routed, alone, differences)
    print_table(routed, differences)
    print(f"{describe_processor()}, load average {os.getloadavg()}")
    print(json.dumps({"figures": figures}))
    return 0 if figures["betterSeeds"] == len(SEEDS) else 1


def write_tagged_data() -> list[str]:
    """Write the quickstart's files with a tag of each record's topic; returns the topics."""
    topics = set()
    for split in ("train", "validation", "test"):
        records = [json.loads(line) for line in (QUICKSTART / f"data/{split}.jsonl").read_text().splitlines()]
        for record in records:
            record["tags"] = [record["reference"].partition(".")[0]]
            topics |= {*record["tags"]}
        path = FOLDER / f"data/{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return sorted(topics)


def teacher(name: str, folder: str, *, tag: str = "") -> dict[str, Any]:
    """Return a teacher of the spec: a folder of the quickstart, for the records with a tag if one is given."""
    return {"name": name, "model": {"source": str(QUICKSTART / folder)}, **({"match": {"tag": tag}} if tag else {})}


def routed_teachers(topics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the good teacher once for each topic that it answers, and the worse one for all others."""
    good = [teacher(f"good-{topic}", "teacher", tag=topic) for topic in topics[:ROUTED_TOPICS]]
    return [*good, teacher("worse", "student")]


def run_arm(name: str, *, seed: int, teachers: list[dict[str, Any]]) -> Outcome:
    """Run one arm with one seed."""
    data = {split: {"uri": str(FOLDER / f"data/{split}.jsonl")} for split in ("train", "validation", "test")}
    trial = Trial(
        name=f"{name}-{seed}",
        objective="CachedLogits",
        temperature=1.0,
        learning_rate=LEARNING_RATE,
        epochs=EPOCHS,
        seed=seed,
        test=FOLDER / "data/test.jsonl",
        changes={"teachers": teachers, "data": data},
    )
    outcome = run_trial(trial, folder=FOLDER, store=open_store(str(FOLDER / "store")))
    print(f"{trial.name}: {outcome.seconds:.0f} s, load {outcome.load:.1f}", file=sys.stderr, flush=True)
    return outcome


def compare_outcomes(one: Outcome, other: Outcome, *, seed: int) -> Difference:
    """Compare two students on the same test records."""
    return compare(one.scores, other.scores, generator=np.random.default_rng(seed))


def print_table(routed: Sequence[Outcome], differences: Sequence[Difference]) -> None:
    """Print the teachers of the routed arm, and the gain of each seed."""
    for one in routed[0].report.teachers:
        share, seconds = one.share or 0.0, one.latency_seconds or 0.0
        print(f"{one.name:<20} {share:6.1%} of the answers, accuracy {one.accuracy:.1%}, {seconds * 1000:.1f} ms each")
    for seed, found in zip(SEEDS, differences, strict=True):
        interval = " to ".join(f"{100 * edge:+.1f}" for edge in found.ci95)
        print(f"seed {seed}: {100 * found.mean:+.1f} points ({interval}), p {found.p_value:.4f}")


def figures_of(
    routed: Sequence[Outcome], alone: Sequence[Outcome], differences: Sequence[Difference]
) -> dict[str, float]:
    """Return the figures: accuracies, the seeds in which routing is better, and its time per answer as a ratio."""
    times = [[one.report.arms.teacher.latency_seconds or 0.0 for one in some] for some in (routed, alone)]
    return {
        "routedAccuracy": round(mean(float(one.scores.mean()) for one in routed), 4),
        "aloneAccuracy": round(mean(float(one.scores.mean()) for one in alone), 4),
        "betterSeeds": sum(found.mean > 0 and found.p_value < SIGNIFICANT for found in differences),
        "teacherTimeRatio": round(mean(times[0]) / mean(times[1]), 2),
    }


if __name__ == "__main__":
    sys.exit(main())
