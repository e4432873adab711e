"""Children: pure builders of everything that one attempt of a stage puts into the cluster."""
