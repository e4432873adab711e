"""Where artifacts live: a store of named bytes, the artifacts in it, and the claims that fence writers."""
