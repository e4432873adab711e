"""The client: jobs of a cluster, or of this machine, from Python.

`Client` and `AsyncClient` run the same operations (what to ask for, and what follows from the answers) over a transport
(the API server, or this machine).
"""
