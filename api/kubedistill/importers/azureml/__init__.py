"""Azure ML distillation jobs, read as DistillationJobs. One way only: nothing here talks to Azure."""
