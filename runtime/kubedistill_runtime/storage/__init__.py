"""Storage of artifacts: a store of named bytes, the artifacts in it, and claims that fence off replaced writers.

`store.py` is used by everything that reads or writes, `artifacts.py` by the stages, and `claims.py` by the training.
`unfinished.py`, `sharing.py` and `failures.py` have what the store needs of a file system: temporary names, modes of
files, and errors that say what to do.
"""
