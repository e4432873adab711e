"""Serving: inference engines, what is asked of them, and how fast they are."""
