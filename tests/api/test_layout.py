"""The shape of the repository: roots that must not become packages, and who may import whom."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("root", ["api", "operator", "runtime"])
def test_source_roots_are_not_packages(root: str) -> None:
    assert not (ROOT / root / "__init__.py").exists(), "operator/ as a package would shadow the standard library's"


def test_python_starts_from_the_root() -> None:
    subprocess.run([sys.executable, "-c", "import collections, operator; operator.eq"], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        (
            "kubedistill, kubedistill.v1alpha1, kubedistill.contract, kubedistill.chain, kubedistill.errors",
            {"kopf", "kubernetes", "torch", "ray", "vllm", "transformers", "typer", "rich", "ruamel"},
        ),
        (
            "kubedistill_runtime.pipeline, kubedistill_runtime.stages.prepare, kubedistill_runtime.stages.export",
            {"kopf", "kubernetes", "torch", "ray", "vllm", "transformers", "matplotlib", "kubedistill_operator"},
        ),
        ("kubedistill_operator", {"torch", "ray", "vllm", "kubedistill_runtime"}),
    ],
)
def test_imports_stay_in_their_room(modules: str, forbidden: set[str]) -> None:
    script = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not forbidden & set(run.stdout.split())


def test_runtime_core_trains_without_ray_and_vllm() -> None:
    script = "import sys, kubedistill_runtime.training.loop; print(*{n.partition('.')[0] for n in sys.modules})"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert not {"ray", "vllm"} & set(run.stdout.split())


def test_files_stay_short() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for root in ("api", "operator", "runtime")
        for path in (ROOT / root).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 350
    }
    assert not long
