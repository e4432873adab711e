"""Prepare: read and check all input, and write the records that the job is about.

Prepare needs no accelerator, and loads no tokenizer if the store has the records already.
"""

import logging
from collections.abc import Callable
from functools import partial

from kubedistill.contract.artifacts import RowsFigures, SamplesFigures
from kubedistill.contract.estimates import Estimate
from kubedistill.contract.store_names import artifact_folder
from kubedistill.contract.summaries import Headline, PrepareSummary
from kubedistill.manifest.limits import check_gpus_per_worker
from kubedistill_runtime.checks.balance import check_max_share
from kubedistill_runtime.checks.engine_args import check_cache_dtypes, check_engine_args, describe_ignored
from kubedistill_runtime.checks.engines import engines_on_gpus
from kubedistill_runtime.checks.exports import check_export_folders
from kubedistill_runtime.checks.fit import check_fit
from kubedistill_runtime.checks.gates import check_references, check_sample_limit
from kubedistill_runtime.checks.input import (
    Input,
    assemble,
    check_enough,
    count_judged,
    describe_judged,
    read_split,
    sample_test,
)
from kubedistill_runtime.checks.lengths import check_student_length, check_teacher_length
from kubedistill_runtime.checks.models import check_student, check_student_on_rows, fit_teachers
from kubedistill_runtime.checks.routing import check_routing
from kubedistill_runtime.checks.selection import check_selection, check_trace_length, check_train_references
from kubedistill_runtime.checks.splits import check_sizes
from kubedistill_runtime.checks.yields import check_distributions, check_yields
from kubedistill_runtime.choices import describe_commits
from kubedistill_runtime.data_files import data_sources, describe_hub_files, root_path
from kubedistill_runtime.estimate.estimate import estimate_stages
from kubedistill_runtime.export.folders import are_filled
from kubedistill_runtime.records import encode_records, read_rows
from kubedistill_runtime.report.usage import record_estimate
from kubedistill_runtime.serving.vllm_check import check_engines
from kubedistill_runtime.stages import Outcome, StageContext
from kubedistill_runtime.storage.artifacts import draft_artifact, find, publish, read_figures

log = logging.getLogger(__name__)


def run(context: StageContext) -> Outcome:
    """Check the input and make the rows artifact.

    Raises InvalidInput before anything is written, and LowYield if an artifact that exists holds too little.
    """
    _check_request(context)
    with check_engines(engines_on_gpus(context.choices, store=context.store)) as read_replies:
        notes = _prepare_rows(context, read_replies=read_replies)
    return _finish(context, notes)


def _prepare_rows(context: StageContext, *, read_replies: Callable[[], list[str]]) -> list[str]:
    """Make the rows artifact, unless it exists; return notes about the student and the engines."""
    if find(context.store, "rows", context.keys["rows"]).complete:
        return [*check_student_on_rows(context.job, context.choices, store=context.store), *read_replies()]
    context.progress.loading("reading records and tokenizers")
    return _make_rows(context, read_replies=read_replies)


def _finish(context: StageContext, notes: list[str]) -> Outcome:
    """Check what the rows artifact has, and return the figures of the stage."""
    job, choices, store, keys = context.job, context.choices, context.store, context.keys
    rows = read_figures(store, "rows", keys["rows"], RowsFigures)
    test = read_rows(store, keys["rows"], "test")
    judged = count_judged(test, spec=job.spec)
    check_references(job.spec, judged=judged)
    if job.spec.curation.select == "Verified" or job.spec.curation.trace_length == "Auto":
        check_train_references(job.spec, read_rows(store, keys["rows"], "train"))
    report = None
    if find(store, "report", keys["report"]).complete:  # Evaluate will be skipped, so nothing else reports it
        report = read_figures(store, "report", keys["report"], Headline)
    summary = PrepareSummary(
        read=rows.read,
        held_out=rows.held_out,
        dropped=rows.dropped,
        counts=rows.counts,
        objective=choices.objective,
        objective_reason=choices.objective_reason,
        top_logprobs=choices.k,
        judged=judged,
        models=describe_commits(job.spec, choices),
        estimate=_estimate(context),
        notes=[
            *describe_hub_files(job),
            *describe_ignored(job.spec, hardware=job.hardware_of("Generate")),
            *rows.notes,
            *describe_judged(test, spec=job.spec),
            *notes,
        ],
        report=report,
    )
    if not are_filled(job.spec.export, data_root=root_path(job.data_root), store=store, key=keys["export"]):
        # A copy was removed, or another job has replaced it: make the export again.
        store.delete(f"{artifact_folder('export', keys['export'])}/manifest.json")
    records = sum(summary.counts.values())
    message = f"{records:,} records, {choices.objective}: {choices.objective_reason}"
    return Outcome(summary=summary, message=message, keys=keys)


def _estimate(context: StageContext) -> Estimate | None:
    """Return what the run will take; None if that cannot be estimated, which ends no run."""
    read = partial(read_rows, context.store, context.keys["rows"])
    try:
        found = estimate_stages(context.job, context.choices, read=read, store=context.store)
        record_estimate(context.job, found, keys=context.keys, store=context.store)
    except Exception as error:  # it reads configurations of any form, and nothing depends on it
        log.warning("the run is not estimated", exc_info=error)
        return None
    return found


def _check_request(context: StageContext) -> None:
    """Check what needs no record: lengths, limits, selection, export folders, and the yields of existing artifacts."""
    job, choices, keys = context.job, context.choices, context.keys
    for teacher in choices.teachers:
        check_teacher_length(teacher)
    check_student_length(choices.student, spec=job.spec)
    check_gpus_per_worker(job.spec)
    check_engine_args(job.spec)
    check_cache_dtypes(job.spec, hardware=job.hardware_of("Generate"))
    check_fit(job, choices)
    check_sample_limit(job.spec)
    check_routing(job.spec)
    check_selection(job.spec)
    check_trace_length(job.spec)
    check_max_share(job.spec)
    check_export_folders(job.spec.export, data_root=root_path(job.data_root), key=keys["export"], job=job.job.full_name)
    check_yields(keys, spec=job.spec, store=context.store)
    if find(context.store, "samples", keys["samples"]).complete:
        samples = read_figures(context.store, "samples", keys["samples"], SamplesFigures)
        check_distributions(samples, objective=choices.objective)


def _make_rows(context: StageContext, *, read_replies: Callable[[], list[str]]) -> list[str]:
    """Make the rows artifact; return notes about the student and the engines, which the rows do not depend on."""
    job, choices, store = context.job, context.choices, context.store
    found = assemble(job, {split: read_split(job, split) for split in data_sources(job.spec)})
    check_enough(job, found)
    context.engines.warm()  # the records are sound; loading the tokenizers takes as long as starting an engine
    task = job.spec.task
    fit_teachers(found, spec=job.spec, choices=choices)
    check_sizes(found.splits, dropped=found.dropped, places=found.places)
    tested = sample_test(found.splits, spec=job.spec)
    notes = [*check_student(tested, choices=choices, task=task, places=found.places), *read_replies()]
    with draft_artifact(store, "rows", context.keys["rows"]) as draft:
        for split, records in found.splits.items():
            store.put(f"{draft}/{split}.jsonl", encode_records(records))
        publish(store, "rows", context.keys["rows"], _funnel(found), draft=draft)
    return notes


def _funnel(found: Input) -> RowsFigures:
    return RowsFigures(
        read=dict(found.read.items()),
        held_out=list(found.held_out),
        dropped={reason: dict(counts.items()) for reason, counts in found.dropped.items()},
        counts={split: len(records) for split, records in found.splits.items()},
        notes=found.notes,
    )
