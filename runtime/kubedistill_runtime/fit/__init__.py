"""Fit: the memory that a model needs when it is served or trained, from its configuration and its tensors."""
