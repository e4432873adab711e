"""Teachers: generation of answers to records, each answer once, with reuse after a kill."""
