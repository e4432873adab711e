"""Endpoints: teachers behind an HTTP API, asked one conversation at a time within the limits of the endpoint."""
