"""Serving: inference engines, requests to them, and measurements of their speed."""
