"""The client: jobs of a cluster, or of this machine, from Python.

`Client` and `AsyncClient` run the same scripts (what to ask, and what follows) over a transport (who carries it out).
"""
