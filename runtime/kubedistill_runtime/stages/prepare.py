"""Prepare: read and check all input, and leave the records that the job is about.

Without accelerators, and on a warm store without loading a tokenizer.
"""

from collections.abc import Mapping
from typing import Any

from kubedistill.contract import StageJob
from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Gate, Spec
from kubedistill_runtime.checks.data import read_records
from kubedistill_runtime.checks.lengths import check_lengths
from kubedistill_runtime.checks.splits import check_sizes, drop_long, hold_out
from kubedistill_runtime.checks.yields import check_yields
from kubedistill_runtime.export.targets import check_targets, is_filled, places
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import SPLITS, Record, Split, arrange, encode_records, longest_prompt, read_rows
from kubedistill_runtime.resolution import Resolved, data_path, data_sources, resolve, root_path
from kubedistill_runtime.serving.engine import Engines
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import find, folder_of, publish, read_manifest
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.tasks import TASKS

_ACCURACY_GATES = ("min_accuracy", "min_gain", "min_gap_closed", "min_retention")


def run(job: StageJob, store: Store, progress: Progress, engines: Engines) -> Outcome:
    """Check the input and make the rows artifact.

    Raises InvalidInput before anything is written, and LowYield where an artifact that is there holds too little.
    """
    resolved = resolve(job, store=store)
    keys, data_root = resolved.keys, root_path(job.data_root)
    check_lengths(resolved.teacher, resolved.student, spec=job.spec)
    check_yields(resolved.keys, spec=job.spec, store=store)
    check_targets(job.spec.export, data_root=data_root, key=keys["export"])
    if find(store, "rows", keys["rows"]).complete:
        _check_other_choices(job, resolved, store=store)
    else:
        progress.loading("reading records and tokenizers")
        _make_rows(job, resolved, store=store, engines=engines)
    manifest = read_manifest(store, "rows", keys["rows"])
    _check_references(job.spec, judged=manifest["judged"])
    summary = {
        "read": manifest["read"], "tooLong": manifest["tooLong"], "counts": manifest["counts"],
        "heldOut": manifest["heldOut"], "objective": resolved.objective, "objectiveReason": resolved.objective_reason,
        "topLogprobs": resolved.k,
    }  # fmt: skip
    targets = places(job.spec.export, data_root=data_root, store=store, key=keys["export"])
    if not all(is_filled(target, key=keys["export"]) for target in targets):
        # Somebody removed a copy, or another job put its own there since: it is to be made again.
        store.delete(f"{folder_of('export', keys['export'])}/manifest.json")
    if find(store, "report", keys["report"]).complete:
        summary["report"] = read_manifest(store, "report", keys["report"])  # what Evaluate, if skipped, does not say
    records = sum(summary["counts"].values())
    message = f"{records:,} records, {resolved.objective}: {resolved.objective_reason}"
    return Outcome(summary=summary, message=message, keys=keys)


def _check_other_choices(job: StageJob, resolved: Resolved, *, store: Store) -> None:
    """Check what rows that an earlier job made do not vouch for: this job's student, and answers that are given."""
    from kubedistill_runtime.chat import load_chat_format

    if job.spec.data.train.answers == "Given":
        _check_given(job.spec, read_rows(store, resolved.keys["rows"], "train"), at=_place("train", job=job))
    if not find(store, "student", resolved.keys["student"]).complete:
        load_chat_format(resolved.student, at="spec.student.model.source")


def _make_rows(job: StageJob, resolved: Resolved, *, store: Store, engines: Engines) -> None:
    splits, places = _read_splits(job)
    read = {split: len(records) for split, records in splits.items()}
    held_out = _fill_splits(splits, seed=job.spec.generation.seed, places=places)
    engines.warm()  # the records are sound; loading the tokenizers takes as long as starting an engine
    too_long = _drop_too_long(splits, resolved=resolved)
    check_sizes(splits, too_long=too_long, places=places)
    _check_given(job.spec, splits["train"], at=places["train"])
    judged = any(record.references for record in splits["test"])
    _check_references(job.spec, judged=judged)
    for split, records in splits.items():
        store.put(f"{folder_of('rows', resolved.keys['rows'])}/{split}.jsonl", encode_records(records))
    manifest: dict[str, Any] = {
        "read": read,
        "heldOut": held_out,
        "tooLong": too_long,
        "counts": {split: len(records) for split, records in splits.items()},
        "judged": judged,
    }
    publish(store, "rows", resolved.keys["rows"], manifest)


def _read_splits(job: StageJob) -> tuple[dict[Split, list[Record]], dict[Split, str]]:
    task, splits, places = job.spec.task, {}, {}
    for split, source in data_sources(job.spec).items():
        path = data_path(source, job=job, at=f"spec.data.{split}")
        records = read_records(
            path, split=split, task=TASKS[task.type], labels=task.answer_labels, system_prompt=task.system_prompt
        ).records
        splits[split] = [arrange(record, answers=job.spec.data.train.answers) for record in records]
        places[split] = _place(split, job=job)
    return splits, places


def _place(split: Split, *, job: StageJob) -> str:
    at = f"spec.data.{split}"
    return f"{at}: {data_path(data_sources(job.spec)[split], job=job, at=at)}"


def _fill_splits(splits: dict[Split, list[Record]], *, seed: int, places: dict[Split, str]) -> list[Split]:
    """Hold out of train what has no file of its own; returns the splits that were made so."""
    missing: list[Split] = [split for split in SPLITS if split not in splits]
    for split in missing:
        splits["train"], splits[split] = hold_out(splits["train"], seed=seed, salt=split)
        places[split] = f"{places['train']} (held out for {split})"
    return missing


def _drop_too_long(splits: dict[Split, list[Record]], *, resolved: Resolved) -> dict[Split, int]:
    from kubedistill_runtime.chat import load_chat_format  # here, since a warm start needs no tokenizer

    chat = load_chat_format(resolved.teacher, at="spec.teachers[0].model.source", date=resolved.date, generates=True)
    load_chat_format(resolved.student, at="spec.student.model.source")
    too_long = {}
    for split in SPLITS:
        splits[split], too_long[split] = drop_long(
            splits[split],
            count_tokens=lambda record: len(chat.prompt_ids(longest_prompt(record))),
            limit=resolved.max_model_len,
        )
    return too_long


def _check_given(spec: Spec, records: list[Record], *, at: str) -> None:
    without = [record.id for record in records if not record.references]
    if spec.data.train.answers == "Given" and without:
        raise InvalidManifest(
            f"answers are Given, and {len(without)} records have no reference, {without[0]!r} first",
            at=at,
            fix="Add the references, or use answers: Teacher",
        )


def _check_references(spec: Spec, *, judged: bool) -> None:
    """Refuse gates on accuracy where nothing says which answer is right."""
    gate: Mapping[str, Any] = spec.evaluation.gate.model_dump()
    for field in _ACCURACY_GATES:
        if not judged and gate[field] is not None:
            name = Gate.model_fields[field].alias
            raise InvalidManifest(
                "no test record has a reference, so accuracy is not known",
                at=f"spec.evaluation.gate.{name}",
                fix="Add references to the test records, or remove this limit",
            )
