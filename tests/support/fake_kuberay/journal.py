"""What the player did and met, with the time: a test or a benchmark reads it afterwards."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.fake_kuberay.child import Child


@dataclass(slots=True)
class Journal:
    """Entries in their order; also lines of JSON in a file, if one is given."""

    file: Path | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)

    def note(self, child: Child, what: str, **more: Any) -> None:
        """Write down one thing about a child."""
        entry = {
            "at": time.time(),
            "what": what,
            "namespace": child.key[0],
            "child": child.name,
            "job": child.job,
            "stage": child.stage,
            "attempt": child.attempt,
            **more,
        }
        self.entries.append(entry)
        if self.file is not None:
            with self.file.open("a") as lines:
                lines.write(json.dumps(entry) + "\n")

    def of(self, what: str, *, child: str | None = None) -> list[dict[str, Any]]:
        """Return the entries of one sort, of one child or of all."""
        return [one for one in self.entries if one["what"] == what and child in (None, one["child"])]
