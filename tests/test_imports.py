"""The import graph of the product has no cycle and no import upward, and each module says what it is."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"api": "kubedistill", "operator": "kubedistill_operator", "runtime": "kubedistill_runtime"}
FLOORS = {
    # From the ground up: a room imports from itself and from the floors below it. The modules outside the rooms are "":
    # in the operator they are the ground, in api and in the runtime each stands where it is used.
    "kubedistill": ["v1alpha1", "manifest", "contract", "placement", "report", "schema", "importers", "client", "cli"],
    "kubedistill_operator": ["", "children", "decisions", "cluster", "telemetry", "loop"],
    "kubedistill_runtime": [
        "storage",
        "channel",
        "tasks",
        "chat",
        "fit",
        "export",
        "report",
        "serving",
        "endpoints",
        "teachers",
        "training",
        "evaluation",
        "curation",
        "checks",
        "estimate",
        "stages",
    ],
}
DOORS = {"kubedistill_operator.__main__", "kubedistill_operator.explain"}
"""Commands, which stand on everything."""


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path, ROOT / root): path for root in PACKAGES for path in sorted((ROOT / root).rglob("*.py"))}


def imports(name: str) -> Iterator[str]:
    """Yield the modules of the product that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


GRAPH = {name: {other for other in imports(name) if other != name} for name in MODULES}


def test_no_module_imports_itself_by_way_of_others() -> None:
    order = list(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names the cycle
    assert len(order) == len(MODULES)


@pytest.mark.parametrize("package", FLOORS)
def test_no_room_imports_from_a_floor_above(package: str) -> None:
    floors = FLOORS[package]
    up = [
        (name, other)
        for name, others in GRAPH.items()
        if name not in DOORS
        for other in others
        if (at := room_of(name, package)) in floors and (to := room_of(other, package)) in floors
        if floors.index(to) > floors.index(at)
    ]
    assert up == []


@pytest.mark.parametrize("package", FLOORS)
def test_each_room_has_a_floor(package: str) -> None:
    rooms = {room_of(name, package) for name in MODULES} - {None, ""}
    assert rooms == {*FLOORS[package]} - {""}


def room_of(name: str, package: str) -> str | None:
    """Return the room of a module; "" for one outside the rooms, None for one of another package."""
    if not name.startswith(f"{package}."):
        return None
    inner, _, below = name.removeprefix(f"{package}.").partition(".")
    return inner if below or MODULES[name].name == "__init__.py" else ""


@pytest.mark.parametrize("name", MODULES)
def test_each_module_says_what_it_is_in_a_sentence(name: str) -> None:
    said = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8"))) or ""
    assert said.split("\n\n")[0].rstrip().endswith((".", ":")), said[:80]
