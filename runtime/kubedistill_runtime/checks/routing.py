"""Whether several teachers are told which records to answer, and each record has a teacher."""

from collections import Counter
from collections.abc import Mapping, Sequence

from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill.v1alpha1 import Spec, Teacher
from kubedistill.v1alpha1.task import label_key
from kubedistill_runtime.checks.selection import check_comparable
from kubedistill_runtime.records import Record, Split
from kubedistill_runtime.teachers.routing import route

_AT = "spec.generation.routing"


def check_routing(spec: Spec) -> None:
    """Refuse BestOf where there are no answers to compare; raises InvalidManifest."""
    if spec.generation.routing != "BestOf":
        return
    if len(spec.teachers) < 2:
        raise InvalidManifest("BestOf compares several teachers, and there is one", at=_AT, fix="Remove it")
    if spec.data.train.answers == "Given":
        raise InvalidManifest("BestOf selects answers of teachers, and the answers are Given", at=_AT, fix="Remove it")
    check_comparable(spec, "BestOf", at=_AT)


def check_routes(spec: Spec, splits: Mapping[Split, Sequence[Record]], *, places: Mapping[Split, str]) -> list[str]:
    """Check that each record has a teacher, and return notes about teachers that have no record.

    Raises InvalidData for a record that no teacher matches, and InvalidManifest for a tag in another spelling.
    """
    counts = Counter(tag for records in splits.values() for record in records for tag in record.tags)
    _check_spelling(spec, counts)
    answered = Counter[str]()
    for split, records in splits.items():
        for record in records:
            names = route(record, teachers=spec.teachers, routing=spec.generation.routing)
            answered.update(names)
            if not names:
                tags = ", ".join(record.tags) or "none"
                raise InvalidData(
                    f"no teacher matches record {record.id!r}, whose tags are: {tags}",
                    at=places[split],
                    fix="Add a teacher without match, or one that matches such a tag",
                )
    return [_describe_idle(one, counts) for one in spec.teachers if not answered[one.name]]


def _check_spelling(spec: Spec, tags: Mapping[str, int]) -> None:
    """Refuse a tag that records have in another case or Unicode form: it would match none of them."""
    matched = {teacher.match.tag for teacher in spec.teachers if teacher.match is not None}
    for index, teacher in enumerate(spec.teachers):
        if teacher.match is None:
            continue
        own = teacher.match.tag
        other = next((tag for tag in tags if tag not in matched and label_key(tag) == label_key(own)), None)
        if other is not None:
            raise InvalidManifest(
                f"tags match exactly, and {tags[other]:,} records have the tag {other!r} instead of {own!r}",
                at=f"spec.teachers[{index}].match.tag",
                fix="Write the tag as the records have it, and in one way in all of them",
            )


def _describe_idle(teacher: Teacher, tags: Mapping[str, int]) -> str:
    """Return the note about a teacher that answers no record."""
    note = f"teacher {teacher.name} answers no record"
    if teacher.match is None or tags.get(teacher.match.tag):
        return note
    return f"{note}: none has the tag {teacher.match.tag!r}"
