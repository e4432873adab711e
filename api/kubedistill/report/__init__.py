"""The report: its models, the words of its outcomes, and the table of it that people read."""
