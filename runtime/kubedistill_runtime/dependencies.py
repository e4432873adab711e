"""Missing dependencies: what an image or an environment lacks, which no retry and no new cluster brings."""

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
    """Return what an error is where it comes of a missing compiler, library or package; None of any other error."""
    if isinstance(root := find_root_cause(error), KubedistillError):  # that has been decided where it was raised
        return root if isinstance(root, MissingDependency) else None
    cause = describe_cause(error)
    # Of what an actor met in its start only a traceback's last line is left, which names the type itself.
    if _MISSING.search(f"{name_cause(error)}\n{cause}") is None:
        return None
    return MissingDependency(cause, at=at, fix=_FIX)
