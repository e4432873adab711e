"""Training: from kept answers to a student, with our own loop on torch, transformers and Ray Train."""
