"""Checks of Prepare: bad input is refused before an engine starts."""
