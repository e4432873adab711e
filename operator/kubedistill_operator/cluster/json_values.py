"""Parts of objects from the API server, whatever they contain."""

from collections.abc import Mapping

from kubedistill.json_values import as_object
from kubedistill_operator.observed import Resource


def part(resource: Resource, name: str) -> Resource:
    """Return a part; empty if it is absent or not an object."""
    return as_object(resource.get(name))


def items(resource: Resource, name: str) -> list[Resource]:
    """Return the objects in a list; empty if it is absent or not a list."""
    found = resource.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def condition(status: Resource, kind: str) -> Resource:
    """Return the condition of a type; empty if it is absent."""
    return next((one for one in items(status, "conditions") if one.get("type") == kind), {})
