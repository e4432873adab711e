"""Makes `trio` importable: three made-up models that answered the same records."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
