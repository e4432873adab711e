"""kubedistill version"""

import json
from collections.abc import Callable
from importlib.metadata import version

import kubedistill as package


def test_version_is_that_of_the_package(kubedistill: Callable) -> None:
    assert package.__version__ == version("kubedistill")
    said = kubedistill("version")
    assert (said.returncode, said.stdout, said.stderr) == (0, f"{package.__version__}\n", "")


def test_version_for_machines(kubedistill: Callable) -> None:
    assert json.loads(kubedistill("version", "--json").stdout) == {"version": package.__version__}
