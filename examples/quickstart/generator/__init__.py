"""Support messages with known answers: what the quickstart's models are trained and judged on."""
