"""The rooms of the operator: who may talk to the cluster, who may use kopf, and that deciding needs neither."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "operator" / "kubedistill_operator"


def importers(package: str) -> set[str]:
    """The modules of the operator that import a package, wherever in them."""
    found = set()
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == package for name in names):
                found.add(path.stem)
    return found


@pytest.mark.parametrize(
    ("package", "modules"),
    [("kubernetes", {"cluster"}), ("kopf", {"watch"}), ("aiohttp", {"cluster", "health"}), ("typer", {"__main__"})],
)
def test_each_library_has_its_room(package: str, modules: set[str]) -> None:
    assert importers(package) == modules


def test_deciding_needs_no_cluster() -> None:
    script = "import sys, kubedistill_operator.reconcile; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {"kubernetes", "kopf", "aiohttp", "prometheus_client"} & set(run.stdout.split())
