"""Curation: filters for answers, and detection of leaked test data."""
