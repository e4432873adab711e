"""Times: seconds since the epoch inside, RFC 3339 in UTC in status."""

from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> float | None:
    """RFC 3339 as seconds since the epoch; None where the text is empty or no time."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:  # status may have been written by anybody
        return None


def seconds_since(text: str, now: float) -> float:
    """Seconds from a time in status until now; 0 where it is not known or lies ahead."""
    then = seconds_of(text)
    return 0.0 if then is None else max(0.0, now - then)
