"""Curation: which of the teacher's answers are good enough to learn from, and why the others are not."""
