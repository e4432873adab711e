"""The Python client for the jobs of a cluster, or of this machine.

`Client` and `AsyncClient` run the same operations over a transport. An operation says what to request, and computes its
result from the answers. A transport carries the requests to the API server, or to this machine.
"""
