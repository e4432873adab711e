"""No test talks to anything but this machine: an audit hook watches this process and every Python that it starts."""

import os
import runpy
from pathlib import Path

_GUARD = Path(__file__).parent / "support" / "guard"

runpy.run_path(str(_GUARD / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_GUARD), os.environ.get("PYTHONPATH")]))
