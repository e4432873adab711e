"""Telemetry: what people and Prometheus see of the operator, its logs, metrics and probes."""
