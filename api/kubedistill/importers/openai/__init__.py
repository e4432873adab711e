"""Import of OpenAI's files as records: fine-tuning, stored completions, batches, evals and preferences."""
