"""Whether several teachers are told which records to answer, and each record has a teacher."""

from collections import Counter
from collections.abc import Mapping, Sequence

from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill.v1alpha1 import Spec
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

    Raises InvalidData for a record that no teacher matches.
    """
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
    return [f"teacher {one.name} answers no record" for one in spec.teachers if not answered[one.name]]
