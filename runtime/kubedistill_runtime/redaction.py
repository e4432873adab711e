"""Redaction: the function that data.redact names, applied to each text of a record before anything is stored.

Its module is a file below the data root, or a module of the image. It runs in Prepare and in previews only.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.abc import InspectLoader
from pathlib import Path
from types import ModuleType

from kubedistill.contract import StageJob
from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.models import file_digest
from kubedistill_runtime.records import Record
from kubedistill_runtime.storage.store import Store, locate_store
from kubedistill_runtime.tasks import TASKS

AT = "spec.data.redact"
_FIX = "Write module:function, with a module of the image, or a file below the data root: a/b.py is a.b"


@dataclass(frozen=True, slots=True)
class _Named:
    """The function that data.redact names."""

    module: str
    function: str
    path: Path
    """The file of the module."""
    is_installed: bool
    """Whether the module is one of the image."""


def digest_redaction(job: StageJob, *, store: Store) -> str | None:
    """Return what determines the redaction, for keys: its name and the sha256 of the module's file; None without one.

    Raises InvalidManifest if there is no such module.
    """
    named = _find(job)
    return None if named is None else f"{named.module}:{named.function}:{file_digest(named.path, store=store)}"


def redact_records(records: list[Record], *, job: StageJob) -> tuple[list[Record], tuple[str, ...]]:
    """Return the records with their messages, references and tags redacted, and notes.

    Labels and ids stay as they are. Raises InvalidManifest if there is no such function, and InvalidData for a record
    that it fails for, leaves blank, or leaves a reference that no answer can match. No error quotes a record.
    """
    named = _find(job)
    if named is None:
        return records, ()
    redact, has_labels = _load(named), bool(job.spec.task.answer_labels)
    done = [_redact(record, redact, has_labels=has_labels) for record in records]
    for record in done:
        _check_references(record, task=job.spec.task)
    changed = sum(one != other for one, other in zip(records, done, strict=True))
    return done, (f"{changed:,} of {len(records):,} records: changed by {named.module}:{named.function}",)


def _redact(record: Record, redact: Callable[[str], str], *, has_labels: bool) -> Record:
    def apply(texts: Iterable[str]) -> tuple[str, ...]:
        return tuple(_apply(redact, text, record=record.id) for text in texts)

    contents = apply(message.content for message in record.messages)
    return replace(
        record,
        messages=tuple(replace(one, content=text) for one, text in zip(record.messages, contents, strict=True)),
        references=record.references if has_labels else apply(record.references),
        tags=apply(record.tags),
    )


def _check_references(record: Record, *, task: Task) -> None:
    """Check that the references of a redacted record are still in the form of the task's answers."""
    check = TASKS[task.type].check_references
    if check is not None and check(record, task) is not None:
        problem = f"the function leaves the record {record.id!r} a reference that is not a valid answer"
        raise InvalidData(problem, at=AT, fix="Leave the form of references as it is, or remove the record")


def _apply(redact: Callable[[str], str], text: str, *, record: str) -> str:
    try:
        redacted = redact(text)
        if isinstance(redacted, str):
            redacted.encode()
    except (Exception, SystemExit) as error:  # whatever the user's code raises; its message may quote the record
        problem = f"the function fails for the record {record!r} with {type(error).__name__}"
        raise InvalidData(problem, at=AT, fix="Correct it, and test it with that record") from None
    if not isinstance(redacted, str) or not redacted.strip():
        found = "a blank string" if isinstance(redacted, str) else f"a value of type {type(redacted).__name__}"
        problem = f"the function returns {found} for the record {record!r}"
        raise InvalidData(problem, at=AT, fix="Return a string that is not blank, such as [removed]")
    return redacted


def _find(job: StageJob) -> _Named | None:
    name = job.spec.data.redact
    if name is None:
        return None
    module, _, function = name.partition(":")
    path = locate_store(job.data_root).root.joinpath(*module.split(".")).with_suffix(".py")
    if path.is_file():
        return _Named(module, function, path, is_installed=False)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a parent that is not a package, or a module without a specification
        spec = None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise InvalidManifest(f"there is no module {module!r}, and no {path}", at=AT, fix=_FIX)
    return _Named(module, function, Path(spec.origin), is_installed=True)


def _load(named: _Named) -> Callable[[str], str]:
    try:
        module = importlib.import_module(named.module) if named.is_installed else _run(named.path)
        function = getattr(module, named.function, None)
    except (Exception, SystemExit) as error:  # whatever the user's code raises when it is imported
        problem = f"{named.path} can't be imported ({type(error).__name__}: {error})"
        raise InvalidManifest(
            problem, at=AT, fix="It can import what the image has, but no files next to it"
        ) from error
    if not callable(function):
        raise InvalidManifest(f"{named.path} has no function {named.function!r}", at=AT, fix=_FIX)
    found: Callable[[str], str] = function
    return found


class _Source(InspectLoader):
    """Loads a file without Python's cache, whose times would not show every change."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_source(self, _: str) -> str:
        """Return the text of the file."""
        return self._path.read_text(encoding="utf-8")


def _run(path: Path) -> ModuleType:
    """Import a file under a name of its own."""
    spec = importlib.util.spec_from_loader("kubedistill_redact", _Source(path), origin=str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module
