"""Teachers: generate the answers to records, each once, and reuse them after a kill."""
