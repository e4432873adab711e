"""Errors of child processes, which reach this process only as what they write.

Ray redirects the output of an actor into files, and its child processes write there too.
"""

import re
from pathlib import Path

_LINE = re.compile(r"(?:^|[\s\]])(?:\w+\.)*[A-Za-z]\w*(?:Error|Exception): (.+)$", re.MULTILINE)
"""The last line of a traceback; vLLM writes a prefix before it."""
_RELAYED = "root cause"
"""In errors of vLLM that only say that there is another one."""
_MOST_BYTES = 2**18


class WrittenErrors:
    """What is written to standard output and error from now on."""

    def __init__(self) -> None:
        files = [Path(f"/proc/self/fd/{number}").readlink() for number in (1, 2)]
        self._starts = {file: file.stat().st_size for file in files if file.is_file()}

    def last(self) -> Exception | None:
        """Return the last error that was written; None if there is none, or the output is in no file."""
        for file, start in self._starts.items():
            with file.open("rb") as written:
                written.seek(max(start, file.stat().st_size - _MOST_BYTES))
                found = _LINE.findall(written.read().decode(errors="replace"))
            if causes := [line for line in found if _RELAYED not in line]:
                return RuntimeError(causes[-1])
        return None
