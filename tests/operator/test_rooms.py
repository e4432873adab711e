"""The rooms of the operator: which library each uses, and that deciding needs no cluster."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "kubedistill_operator"
FOLDER = Path(__file__).parents[2] / "operator" / PACKAGE


def imports(path: Path) -> Iterator[str]:
    """Yield the full names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(package: str) -> set[str]:
    """Return the modules of the operator that import a package."""
    return {
        path.relative_to(FOLDER).with_suffix("").as_posix()
        for path in FOLDER.rglob("*.py")
        if any(name.partition(".")[0] == package for name in imports(path))
    }


@pytest.mark.parametrize(
    ("package", "modules"),
    [
        ("kubernetes", {"cluster/client", "cluster/connection"}),
        ("kopf", {"loop/watch"}),
        ("aiohttp", {"cluster/client", "cluster/connection", "telemetry/health"}),
        ("typer", {"__main__"}),
    ],
)
def test_each_library_has_its_room(package: str, modules: set[str]) -> None:
    assert importers(package) == modules


def test_deciding_needs_no_cluster() -> None:
    look = "print(*{name.partition('.')[0] for name in sys.modules})"
    script = f"import sys, {PACKAGE}.decisions.reconcile; {look}"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {"kubernetes", "kopf", "aiohttp", "prometheus_client"} & set(run.stdout.split())
