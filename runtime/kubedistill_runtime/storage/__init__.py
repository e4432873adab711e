"""Storage of artifacts: a store of named bytes, the artifacts in it, and claims that fence off replaced writers."""
