"""Division: which requests each of several teachers gets."""

from collections.abc import Mapping
from dataclasses import replace

from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.teachers.requests import Request
from kubedistill_runtime.teachers.routing import route


def divide(requests: Mapping[str, Request], *, spec: Spec) -> dict[str, dict[str, Request]]:
    """Return the requests of each teacher with its own records, by the teacher's name, without empty ones."""
    divided: dict[str, dict[str, Request]] = {teacher.name: {} for teacher in spec.teachers}
    for split, request in requests.items():
        routes = [route(one, teachers=spec.teachers, routing=spec.generation.routing) for one in request.records]
        for name, own in divided.items():
            records = [one for one, names in zip(request.records, routes, strict=True) if name in names]
            if records:
                own[split] = replace(request, records=records)
    return {name: own for name, own in divided.items() if own}


def count_answers(requests: Mapping[str, Request]) -> int:
    """Return the number of answers that requests ask for."""
    return sum(len(request.records) * request.samples for request in requests.values())
