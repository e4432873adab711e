"""Training: from kept answers to a student, with a loop on torch, transformers and Ray Train."""
