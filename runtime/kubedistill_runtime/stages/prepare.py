"""Prepare: read and check all input, and leave the records that the job is about.

Without accelerators, and on a warm store without loading a tokenizer.
"""

from kubedistill.contract import StageJob
from kubedistill.contract.artifacts import RowsFigures
from kubedistill.contract.summaries import Headline, PrepareSummary
from kubedistill_runtime.checks.gates import check_references, check_sample_limit
from kubedistill_runtime.checks.input import (
    Input,
    assemble,
    check_enough,
    count_judged,
    describe_judged,
    place_of,
    read_split,
    sample_test,
)
from kubedistill_runtime.checks.lengths import check_lengths
from kubedistill_runtime.checks.models import check_student, fit_teacher
from kubedistill_runtime.checks.splits import check_sizes
from kubedistill_runtime.checks.yields import check_yields
from kubedistill_runtime.choices import Choices, data_sources, root_path
from kubedistill_runtime.export.folders import are_filled, check_export_folders
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import SPLITS, Split, encode_records, read_rows
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import draft_artifact, find, folder_of, publish, read_figures
from kubedistill_runtime.storage.store import Store


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Check the input and make the rows artifact.

    Raises InvalidInput before anything is written, and LowYield where an artifact that is there holds too little.
    """
    store.sweep()
    resolved = resolve(job, store=store)
    keys, data_root = resolved.keys, root_path(job.data_root)
    check_lengths(resolved.teacher, resolved.student, spec=job.spec)
    check_sample_limit(job.spec)
    check_export_folders(job.spec.export, data_root=data_root, key=keys["export"], job=job.job.full_name)
    check_yields(keys, spec=job.spec, store=store)
    if find(store, "rows", keys["rows"]).complete:
        notes = _check_student(job, resolved, store=store)
    else:
        progress.loading("reading records and tokenizers")
        notes = _make_rows(job, resolved, store=store, engines=engines)
    rows = read_figures(store, "rows", keys["rows"], RowsFigures)
    test = read_rows(store, keys["rows"], "test")
    judged = count_judged(test, spec=job.spec)
    check_references(job.spec, judged=judged)
    report = None
    if find(store, "report", keys["report"]).complete:  # what Evaluate, if skipped, does not say
        report = read_figures(store, "report", keys["report"], Headline)
    summary = PrepareSummary(
        read=rows.read,
        held_out=rows.held_out,
        dropped=rows.dropped,
        counts=rows.counts,
        objective=resolved.objective,
        objective_reason=resolved.objective_reason,
        top_logprobs=resolved.k,
        judged=judged,
        notes=[*rows.notes, *describe_judged(test, spec=job.spec), *notes],
        report=report,
    )
    if not are_filled(job.spec.export, data_root=data_root, store=store, key=keys["export"]):
        # Somebody removed a copy, or another job put its own there since: it is to be made again.
        store.delete(f"{folder_of('export', keys['export'])}/manifest.json")
    records = sum(summary.counts.values())
    message = f"{records:,} records, {resolved.objective}: {resolved.objective_reason}"
    return Outcome(summary=summary, message=message, keys=keys)


def _make_rows(job: StageJob, resolved: Choices, *, store: Store, engines: Engines) -> list[str]:
    """Make the rows artifact; returns what a person should know of the student, which rows do not depend on."""
    found = assemble(job, {split: read_split(job, split) for split in data_sources(job.spec)})
    check_enough(job, found)
    engines.warm()  # the records are sound; loading the tokenizers takes as long as starting an engine
    fit_teacher(found, resolved=resolved)
    check_sizes(found.splits, dropped=found.dropped, places=found.places)
    notes = check_student(sample_test(found.splits, spec=job.spec), resolved=resolved, places=found.places)
    with draft_artifact(store, "rows", resolved.keys["rows"]) as draft:
        for split, records in found.splits.items():
            store.put(f"{draft}/{split}.jsonl", encode_records(records))
        publish(store, "rows", resolved.keys["rows"], _funnel(found), draft=draft)
    return notes


def _funnel(found: Input) -> RowsFigures:
    return RowsFigures(
        read=dict(found.read.items()),
        held_out=list(found.held_out),
        dropped={reason: dict(counts.items()) for reason, counts in found.dropped.items()},
        counts={split: len(records) for split, records in found.splits.items()},
        notes=found.notes,
    )


def _check_student(job: StageJob, resolved: Choices, *, store: Store) -> list[str]:
    """Check what rows that an earlier job made do not vouch for: this job's student."""
    if find(store, "student", resolved.keys["student"]).complete:
        return []
    splits = {split: read_rows(store, resolved.keys["rows"], split) for split in SPLITS}
    return check_student(
        sample_test(splits, spec=job.spec), resolved=resolved, places={split: _place(job, split) for split in SPLITS}
    )


def _place(job: StageJob, split: Split) -> str:
    named = data_sources(job.spec)
    return place_of(job, split) if split in named else f"{place_of(job, 'train')} (held out for {split})"
