"""The problems of one data file, reported together."""

from collections.abc import Iterator
from contextlib import contextmanager

from kubedistill.errors import InvalidData

MAX_PROBLEMS = 20


class Problems:
    """Collects the problems of a file, so that one run shows all of them."""

    def __init__(self) -> None:
        self.found: list[InvalidData] = []

    @property
    def full(self) -> bool:
        """Whether the maximum number of problems was found."""
        return len(self.found) >= MAX_PROBLEMS

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Collect the problem that ends the block, and continue after it."""
        try:
            yield
        except InvalidData as problem:
            self.found.append(problem)

    def refuse(self) -> None:
        """Raise the first problem, with the others in its fix, one per line; do nothing if there are none."""
        if not self.found:
            return
        first, *others = self.found[:MAX_PROBLEMS]
        rest = "".join(f"\n{other}" for other in others)
        if self.full:
            rest += f"\nThese are the first {MAX_PROBLEMS} problems; the rest of the file was not read"
        raise InvalidData(first.problem, at=first.at, fix=f"{first.fix}{rest}") from first
