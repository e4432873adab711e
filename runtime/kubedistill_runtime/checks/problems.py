"""The problems of one data file, told together."""

from collections.abc import Iterator
from contextlib import contextmanager

from kubedistill.errors import InvalidData

MOST_PROBLEMS = 20


class Problems:
    """Collects what is wrong with a file, so that one reading shows all of it."""

    def __init__(self) -> None:
        self.found: list[InvalidData] = []

    @property
    def full(self) -> bool:
        """Whether as many were found as are shown."""
        return len(self.found) >= MOST_PROBLEMS

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep the problem that ends the block; the code after it goes on."""
        try:
            yield
        except InvalidData as problem:
            self.found.append(problem)

    def refuse(self) -> None:
        """Raise the first problem, with the others in its fix, a line each; do nothing where there are none."""
        if not self.found:
            return
        first, *others = self.found[:MOST_PROBLEMS]
        rest = "".join(f"\n{other}" for other in others)
        if self.full:
            rest += f"\nThese are the first {MOST_PROBLEMS} problems; the rest of the file was not read"
        raise InvalidData(first.problem, at=first.at, fix=f"{first.fix}{rest}") from first
