"""What `import kubedistill` gives, and what it costs."""

import subprocess
import sys

import pytest

import kubedistill


@pytest.mark.parametrize("name", kubedistill.__all__)
def test_public_name_is_there(name: str) -> None:
    assert getattr(kubedistill, name) is not None


def test_public_names_are_those_of_their_homes() -> None:
    assert kubedistill.DistillationJob.__module__ == "kubedistill.v1alpha1.job"
    assert kubedistill.Client.__module__ == "kubedistill.client.sync"
    assert kubedistill.AsyncClient.__module__ == "kubedistill.client.asynchronous"
    assert kubedistill.distillation_job.__module__ == "kubedistill.client.from_arguments"
    assert kubedistill.KubedistillError.__module__ == "kubedistill.errors"
    assert kubedistill.load_manifest.__module__ == "kubedistill.manifest.loading"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kubedistill' has no attribute 'Job'"):
        kubedistill.Job  # noqa: B018


def test_names_can_be_imported_at_once() -> None:
    script = "from kubedistill import *; print(DistillationJob.__name__, load_manifest.__name__, __version__)"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert run.stdout == f"DistillationJob load_manifest {kubedistill.__version__}\n"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import kubedistill", {"pydantic", "ruamel", "typer", "rich", "json"}),
        ("from kubedistill import KubedistillError", {"pydantic", "ruamel", "typer", "rich"}),
        ("from kubedistill import DistillationJob", {"ruamel", "typer"}),
        ("from kubedistill import AsyncClient, Client", {"aiohttp", "kubernetes", "ruamel", "rich", "typer"}),
    ],
)
def test_import_is_lazy(statement: str, absent: set[str]) -> None:
    script = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not absent & set(run.stdout.split())
