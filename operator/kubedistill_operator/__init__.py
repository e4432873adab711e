"""The control plane: a kopf operator that runs DistillationJobs as Jobs and RayJobs."""
