"""Estimates: what a job will take in tokens, GPU hours, dollars and time, before anything is spent."""
