"""Parts of objects as the API server gives them, whatever others have put there."""

from collections.abc import Mapping

from kubedistill.json_values import as_object
from kubedistill_operator.observed import Resource


def part(resource: Resource, name: str) -> Resource:
    """Return a part; empty where it is absent or not an object."""
    return as_object(resource.get(name))


def items(resource: Resource, name: str) -> list[Resource]:
    """Return the objects of a list; none where it is absent or not a list."""
    found = resource.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def condition(status: Resource, kind: str) -> Resource:
    """Return a condition of a status by type; empty where it is not there."""
    return next((one for one in items(status, "conditions") if one.get("type") == kind), {})
