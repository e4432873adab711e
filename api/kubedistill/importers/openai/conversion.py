"""Conversion of exported files: every line becomes a record, or is listed with the reason why not."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubedistill.errors import InvalidData
from kubedistill.importers.openai.lines import join_batches, read_lines
from kubedistill.importers.openai.records import Kind, read_record
from kubedistill.json_values import Json, JsonObject, as_object


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One line that is not a record, and why."""

    at: str
    problem: str
    line: Json


@dataclass(slots=True)
class Conversion:
    """The records of all files, and what differs from the files."""

    train: list[JsonObject] = field(default_factory=list)
    test: list[JsonObject] = field(default_factory=list)
    """The records of evals, if there are other records to learn from."""
    left_out: list[LeftOut] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    """Notes about kept records, with the number of records."""

    @property
    def answered(self) -> bool:
        """Whether each training record has an answer to learn."""
        return all(is_answered(record) for record in self.train)


def convert(paths: Sequence[Path]) -> Conversion:
    """Convert files; the halves of a batch may be in different ones.

    Raises InvalidData if a file can't be read, or if no line becomes a record.
    """
    lines = [line for path in paths for line in read_lines(path)]
    found = Conversion()
    kept: list[tuple[Kind, JsonObject]] = []
    for line in join_batches(lines):
        remarks: set[str] = set()
        try:
            if line.problem:
                raise InvalidData(line.problem, at=line.place)
            kept.append(read_record(line.value, at=line.place, remark=remarks.add))
            found.remarks.update(remarks)
        except InvalidData as error:
            found.left_out.append(LeftOut(line.place, error.problem, line.value))
    if not kept:
        reasons = "; ".join(f"{count} because {why}" for why, count in count_reasons(found.left_out)[:3])
        problem = f"none of {len(found.left_out)} lines is a record ({reasons or 'there are none'})"
        raise InvalidData(problem, at=", ".join(map(str, paths)), fix="docs/migration.md lists the files that are read")
    only_evals = all(kind == "eval" for kind, _ in kept)
    for kind, record in kept:
        (found.test if kind == "eval" and not only_evals else found.train).append(record)
    for records in (found.train, found.test):
        _name(records, found.remarks)
    return found


def is_answered(record: JsonObject) -> bool:
    """Return whether a record has an answer to learn."""
    messages = record["messages"]
    assert isinstance(messages, list), "read_record returns one"
    return "reference" in record or as_object(messages[-1])["role"] == "assistant"


def count_reasons(left_out: Iterable[LeftOut]) -> list[tuple[str, int]]:
    """Return the reasons why lines were left out, with their numbers, the most frequent first."""
    return Counter(one.problem for one in left_out).most_common()


def _name(records: list[JsonObject], remarks: Counter[str]) -> None:
    """Keep the ids that are strings and differ; other records are named after their line when they are read."""
    seen = set[str]()
    for record in records:
        name = record.pop("id", None)
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            continue
        if name in seen:
            remarks["the id was removed, because another record has it"] += 1
            continue
        seen.add(name)
        record["id"] = name
