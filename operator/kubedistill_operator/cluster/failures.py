"""What can go wrong between us and the API server; each kind asks for something else.

These tell the operator what to do next. What a person has to do is told by a KubedistillError, which has a reason, a
place, a fix and an exit code; none of these has.

OperatorFailure
├── Transient     the server is busy, away or was faster than we: do it again
│   └── Conflict  somebody else wrote the object since we read it
├── NotFound      there is no such object
├── AlreadyExists an object of that name is there
├── NameCollision an object stands where ours should, and people must remove it
│   └── Leaving   it is about to go by itself
├── NotUnderstood another version wrote what is stored, and nothing may be done on the word of it
├── Refused       the server said no, and will again: rights, quota, policy, schema
└── LeaseLost     another replica may lead by now: nothing may be written any more
"""


class OperatorFailure(Exception):
    """A failure whose message is fit for people."""


class Transient(OperatorFailure):
    """Do it again; `after` is how many seconds the server asks to wait, if it does."""

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Conflict(Transient):
    """The object has changed since it was read."""


class NotFound(OperatorFailure):
    """There is no such object."""


class AlreadyExists(OperatorFailure):
    """An object of that name is there."""


class NameCollision(OperatorFailure):
    """An object stands where ours should; the message says which, and how to get rid of it."""


class Leaving(NameCollision):
    """An object stands where ours should and is about to go, unless a finalizer holds it."""


class NotUnderstood(OperatorFailure):
    """Another version wrote what is stored of a job; the message says which field, and how the job goes on."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem}. Nothing is done about this job: run the version of the operator that wrote it, or a later one"
        )


class Refused(OperatorFailure):
    """The server said no, and will again until something else changes."""

    def __init__(self, message: str, *, code: int, reason: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class LeaseLost(OperatorFailure):
    """Another replica may lead by now."""
