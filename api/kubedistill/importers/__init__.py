"""Jobs of other systems, read as DistillationJobs."""
