"""Evaluation: the three arms, the statistics between them, and the gate."""
