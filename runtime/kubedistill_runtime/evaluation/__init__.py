"""Evaluation: the three models compared (arms: teacher, baseline, distilled), their statistics, and the gate."""
