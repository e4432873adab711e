"""Errors between the operator and the API server; each class calls for another reaction.

These tell the operator what to do next. What a person must do is a KubedistillError, which has a reason, a field, a fix
and an exit code.

OperatorFailure
├── Transient     the server is busy, unreachable or ahead of us: try again
│   └── Conflict  the object has changed since we read it
├── NotFound      the object does not exist
├── AlreadyExists an object of that name exists
├── NameCollision another object has the name of ours, and people must delete it
│   └── BeingDeleted  it will go by itself
├── NotUnderstood another version wrote what is stored, and nothing may be based on it
├── Refused       the server denies the request, and will again: rights, quota, policy, schema
│   └── ReadRefused   we lack the right to read, and know nothing of what exists
└── LeaseLost     another replica may lead by now: nothing may be written anymore
"""


class OperatorFailure(Exception):
    """A failure with a message for people."""


class Transient(OperatorFailure):
    """Try again; `after` is the delay in seconds that the server asks for, if it does."""

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Conflict(Transient):
    """The object has changed since it was read."""


class NotFound(OperatorFailure):
    """The object does not exist."""


class AlreadyExists(OperatorFailure):
    """An object of that name exists."""


class NameCollision(OperatorFailure):
    """Another object has the name of ours; the message says which, and how to remove it."""


class BeingDeleted(NameCollision):
    """Another object has the name of ours and is being deleted, unless a finalizer holds it."""


class NotUnderstood(OperatorFailure):
    """Another version wrote what is stored of a job; the message names the field, and how the job continues."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem}. The operator ignores this job; run the version of the operator that wrote it, or a later one"
        )


class Refused(OperatorFailure):
    """The server denies the request, and will again until something changes."""

    def __init__(self, message: str, *, code: int, reason: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class ReadRefused(Refused):
    """We lack the right to read; the message names the verb, the resource, the namespace and the fix."""

    def __init__(self, refusal: Refused, *, verb: str, resource: str, namespace: str) -> None:
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        problem = f"the operator may not {verb} {resource} {where}"
        fix = "bind its role there: kubedistill-operator, or NAMESPACE.RELEASE-operator if the chart created it"
        super().__init__(f"{problem}; {fix} ({refusal})", code=refusal.code, reason=refusal.reason)


class LeaseLost(OperatorFailure):
    """Another replica may lead by now."""
