"""Import of Azure ML distillation jobs as DistillationJobs. It only converts files, and never connects to Azure."""
