"""Routing: which of several teachers answer a record. It depends on nothing but the record and the spec."""

import hashlib
import math
from collections.abc import Sequence

from kubedistill.canonical import canonical_json
from kubedistill.v1alpha1 import Routing, Teacher
from kubedistill_runtime.records import Record


def route(record: Record, *, teachers: Sequence[Teacher], routing: Routing) -> tuple[str, ...]:
    """Return the names of the teachers that answer a record, in the order of the spec; empty if none may.

    Those are the teachers whose tag the record has or, if there are none, the teachers without a tag. Weighted takes
    one of them by weighted rendezvous hashing: a further teacher takes only its own share from the others. Source:
    Resch, "New Hashing Algorithms for Data Storage", SDC 2015.
    """
    tagged = [one for one in teachers if one.match is not None and one.match.tag in record.tags]
    candidates = tagged or [one for one in teachers if one.match is None]
    if routing == "BestOf" or len(candidates) < 2:
        return tuple(one.name for one in candidates)
    prompt = canonical_json([(message.role, message.content) for message in record.messages])
    return (max(candidates, key=lambda one: _score(one, prompt=prompt)).name,)


def _score(teacher: Teacher, *, prompt: bytes) -> float:
    """Return a number that is the maximum for a share of the prompts proportional to the teacher's weight."""
    found = hashlib.sha256(teacher.name.encode() + b"\0" + prompt).digest()
    uniform = ((int.from_bytes(found[:8], "big") >> 12) + 0.5) / 2**52  # 53 bits are exact, so it is never 0 or 1
    return -teacher.weight / math.log(uniform)
