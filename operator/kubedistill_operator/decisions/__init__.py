"""Decisions: the pure core, from what was observed of a job to the Plan of what to do."""
