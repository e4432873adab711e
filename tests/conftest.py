"""No test talks to anything but this machine: an audit hook watches this process and every Python that it starts."""

import os
import runpy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kubedistill.signals import reset_inherited_signals
from support.messages import TESTS, CheckMessage

_GUARD = Path(__file__).parent / "support" / "guard"

reset_inherited_signals()  # the programs that tests start inherit ours
runpy.run_path(str(_GUARD / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_GUARD), os.environ.get("PYTHONPATH")]))

# A busy machine is slow, which is not a failure; CI tries the same examples each time: a red run is the change's.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("local", **_PATIENT)
settings.register_profile("ci", **_PATIENT, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture
def check_message(request: pytest.FixtureRequest) -> CheckMessage:
    """Compare a message with the golden page of messages; the test's own folder is {tmp_path} there."""
    replaced = {str(TESTS.parent): "{root}"}
    if "tmp_path" in request.fixturenames:
        replaced[str(request.getfixturevalue("tmp_path"))] = "{tmp_path}"
    return CheckMessage(request.path.relative_to(TESTS).as_posix(), request.node.originalname, replaced)
