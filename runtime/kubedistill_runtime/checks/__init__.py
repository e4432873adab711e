"""Checks: the door of Prepare. Bad input is refused here, before anything is spent."""
