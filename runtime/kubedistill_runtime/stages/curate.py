"""Curate: keep the answers that are good enough to learn from, and say why the others are not."""

from collections import Counter
from collections.abc import Iterable

from kubedistill.canonical import canonical_json
from kubedistill.contract import StageJob
from kubedistill.errors import LowYield
from kubedistill_runtime.answers import Answered
from kubedistill_runtime.curation.dataset import write_dataset
from kubedistill_runtime.curation.filters import keep_first, make_filters
from kubedistill_runtime.curation.given import given_answers
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import read_rows
from kubedistill_runtime.resolution import check_keys, resolve
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import folder_of, publish
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.answer_sets import read_answer_set


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Make the dataset artifact; raises LowYield where too few prompts keep an answer."""
    del engines
    resolved = resolve(job, store=store)
    check_keys(job, resolved)
    keys, spec = resolved.keys, job.spec
    train = read_rows(store, keys["rows"], "train")
    if spec.data.train.answers == "Given":
        asked = given_answers(train)
    else:
        asked = read_answer_set(store, "answers", keys["answers"], "train")
    progress.working(done=0, total=len(asked), unit="answers")
    filters = make_filters(spec.task)
    reasons = [next((reason for reject in filters if (reason := reject(answered))), None) for answered in asked]
    kept, duplicates = keep_first([answered for answered, reason in zip(asked, reasons, strict=True) if not reason])
    progress.working(done=len(asked), total=len(asked), unit="answers", figures={"kept": len(kept)})
    rejected = [(answered, reason) for answered, reason in zip(asked, reasons, strict=True) if reason]
    rejected += [(answered, "Duplicate") for answered in duplicates]
    counts = Counter(reason for _, reason in rejected)
    ratio = len({answered.record.id for answered in kept}) / len(train)
    # First, since it is where to look when too few are kept.
    store.put(f"{folder_of('dataset', keys['dataset'])}/rejected.jsonl", _encode_rejected(rejected))
    _check_yield(ratio, least=spec.curation.min_keep_ratio, counts=counts)
    write_dataset(store, keys["dataset"], kept)
    summary = {"asked": len(asked), "kept": len(kept), "rejected": dict(sorted(counts.items())), "keepRatio": ratio}
    publish(store, "dataset", keys["dataset"], summary)
    return Outcome(summary=summary, message=f"{len(kept):,} of {len(asked):,} answers kept")


def _check_yield(ratio: float, *, least: float, counts: Counter[str]) -> None:
    if ratio < least:
        top = ", ".join(f"{count} {reason}" for reason, count in counts.most_common(3))
        raise LowYield(
            f"{ratio:.1%} of the prompts keep an answer, below minKeepRatio {least:.1%} ({top})",
            at="spec.curation.minKeepRatio",
            fix="Look at rejected.jsonl in the dataset artifact, mend the prompts or lower the ratio",
        )


def _encode_rejected(rejected: Iterable[tuple[Answered, str]]) -> bytes:
    lines = (
        canonical_json(
            {
                "id": answered.record.id,
                "sample": answered.sample,
                "reason": reason,
                "texts": [turn.text for turn in answered.answer.turns],
            }
        )
        for answered, reason in rejected
    )
    return b"".join(line + b"\n" for line in lines)
