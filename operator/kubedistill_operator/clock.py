"""Times: seconds since the epoch in the code, RFC 3339 in UTC in the status."""

from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """Return seconds since the epoch as RFC 3339, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> float | None:
    """Return RFC 3339 as seconds since the epoch; None if the string is empty or not a time."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:  # anybody may have written the status
        return None


def seconds_since(text: str, now: float) -> float:
    """Return the seconds since a time in the status; 0 if it is not known or in the future."""
    then = seconds_of(text)
    return 0.0 if then is None else max(0.0, now - then)
