"""Placement: which pods, GPUs and prices the stages of a job have in the pools of a platform team."""
