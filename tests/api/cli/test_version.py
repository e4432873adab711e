"""kubedistill version"""

import json
from collections.abc import Callable
from importlib.metadata import version

import kubedistill as package


def test_version_is_that_of_the_package(called: Callable) -> None:
    assert package.__version__ == version("kubedistill")
    said = called("version")
    assert (said.returncode, said.stdout, said.stderr) == (0, f"{package.__version__}\n", "")


def test_version_for_machines(called: Callable) -> None:
    assert json.loads(called("version", "--json").stdout) == {"version": package.__version__}
