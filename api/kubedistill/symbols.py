"""Symbols: how terminals and pages show the state of a stage."""

from typing import Final

_SYMBOLS: Final = {
    "Pending": ("○", "dim"),
    "Starting": ("○", "cyan"),
    "Running": ("●", "cyan"),
    "Stopping": ("●", "yellow"),
    "Succeeded": ("✓", "green"),
    "Skipped": ("–", "dim"),
    "Failed": ("✗", "red"),
}


def symbol(state: str) -> str:
    """Return the symbol of a stage's state."""
    return _SYMBOLS[state][0]


def colored_symbol(state: str) -> str:
    """Return the symbol of a stage's state in its color, as rich markup."""
    text, color = _SYMBOLS[state]
    return f"[{color}]{text}[/]"
