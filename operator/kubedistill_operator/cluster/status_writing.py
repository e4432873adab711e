"""Writing the status: a decision becomes JSON values, and fields that another version wrote are kept."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from kubedistill.contract.stored_status import NOT_UNDERSTOOD, with_both_names, with_new_names
from kubedistill.json_values import Json, as_object
from kubedistill.v1alpha1 import Status
from kubedistill_operator.clock import stamp
from kubedistill_operator.job import Job
from kubedistill_operator.plan import Manifest

_MESSAGE = 1024


def status_values(status: Status, *, stored: Mapping[str, Json] | None = None) -> Manifest:
    """Return a status as JSON values without empty ones; a string that is too long is cut, so that the rest is stored.

    Fields of `stored` that this version does not know are kept as long as their object exists.
    """
    try:
        fit = Status.model_validate_json(status.model_dump_json(by_alias=True))
    except ValidationError as error:
        values = status.model_dump(mode="json", by_alias=True)
        for problem in error.errors():
            if problem["type"] == "string_too_long":
                _shorten(values, problem["loc"], most=problem["ctx"]["max_length"])
        fit = Status.model_validate(values, strict=False, by_alias=True)
    known = as_object(_without_empty(fit.model_dump(mode="json", by_alias=True, exclude_none=True)))
    return with_both_names(as_object(_keep_unknown(known, with_new_names(stored or {}), Status)))


def stalled_values(job: Job, problem: str, *, now: float) -> Manifest | None:
    """Return the stored status with condition Stalled, because it is not understood; None if it has that already.

    Everything else stays as stored, except for Reconciling, since kstatus allows only one of the two.
    """
    conditions = [dict(one) for one in job.stored_status.get("conditions") or ()]
    before = next((one for one in conditions if one.get("type") == "Stalled"), {})
    message = problem[:_MESSAGE]
    if (before.get("reason"), before.get("message")) == (NOT_UNDERSTOOD, message):
        return None
    stalled = {
        "type": "Stalled",
        "status": "True",
        "reason": NOT_UNDERSTOOD,
        "message": message,
        "lastTransitionTime": before.get("lastTransitionTime") or stamp(now),
        "observedGeneration": job.generation,
    }
    others = [one for one in conditions if one.get("type") not in ("Stalled", "Reconciling")]
    return {**job.stored_status, "conditions": [*others, stalled]}


def _keep_unknown(values: Json, stored: Json, model: type[BaseModel] | None) -> Json:
    """Return the values with stored fields that a model does not know; items of lists are matched by their keys."""
    if model is None or not isinstance(stored, Mapping) or not isinstance(values, Mapping):
        return values
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    kept = {name: value for name, value in stored.items() if name not in fields}
    for name, value in values.items():
        below, before = _model_in(fields[name].annotation), stored.get(name)
        if isinstance(value, list) and below is not None and isinstance(before, list):
            key = _key_of(fields[name])
            by_key = {as_object(one)[key]: one for one in before}
            kept[name] = [_keep_unknown(one, by_key.get(as_object(one)[key]), below) for one in value]
        else:
            kept[name] = _keep_unknown(value, before, below)
    return kept


def _key_of(field: FieldInfo) -> str:
    """Return the field that identifies the items of a list, as declared to the API server."""
    extra: Any = field.json_schema_extra
    return str(extra["x-kubernetes-list-map-keys"][0])


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field: as its type, in a list or optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one))), None)


def _shorten(values: Any, location: tuple[int | str, ...], *, most: int) -> None:
    *parents, last = location
    for part in parents:
        values = values[part]
    values[last] = f"{values[last][: most - 1]}…"


def _without_empty(value: Json) -> Json:
    if isinstance(value, dict):
        return {name: _without_empty(one) for name, one in value.items() if one not in ("", [])}
    return [_without_empty(one) for one in value] if isinstance(value, list) else value
