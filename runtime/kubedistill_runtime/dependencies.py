"""Missing dependencies: a compiler, library or package that the image or environment lacks; no retry helps."""

import re

from kubedistill.errors import KubedistillError, MissingDependency
from kubedistill_runtime.root_cause import describe_cause, find_root_cause, name_cause

_MISSING = re.compile(
    r"No working C\+\+ compiler found"  # PyTorch's Inductor
    r"|Failed to find C compiler"  # Triton
    r"|cannot open shared object file: No such file"  # the dynamic linker, from here on
    r"|version [`'](GLIBC|GLIBCXX|CXXABI)_[\d.]+' not found"
    r"|undefined symbol: "
    r"|packages that were not found in your environment"  # transformers, of a model's own code
    r"|^ModuleNotFoundError: ",
    re.MULTILINE,
)
_FIX = "Add it to the image, or install it on this machine"


def missing_dependency(error: BaseException, *, at: str) -> MissingDependency | None:
    """Return the error as MissingDependency if its cause is a missing compiler, library or package, otherwise None."""
    if isinstance(root := find_root_cause(error), KubedistillError):  # it was classified where it was raised
        return root if isinstance(root, MissingDependency) else None
    cause = describe_cause(error)
    # Of an error in the start of an actor, only the last line of its traceback is left, which includes the type.
    if _MISSING.search(f"{name_cause(error)}\n{cause}") is None:
        return None
    return MissingDependency(cause, at=at, fix=_FIX)
