"""The cluster: what is read from the API server and how, and how a Plan is carried out there."""
