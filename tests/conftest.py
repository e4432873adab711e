"""No test talks to anything but this machine: an audit hook watches this process and every Python that it starts."""

import os
import runpy
from pathlib import Path

from hypothesis import HealthCheck, settings

_GUARD = Path(__file__).parent / "support" / "guard"

runpy.run_path(str(_GUARD / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_GUARD), os.environ.get("PYTHONPATH")]))

# A busy machine is slow, which is no failure; CI tries the same examples each time, so that a red run is the change's.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("local", **_PATIENT)
settings.register_profile("ci", **_PATIENT, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
