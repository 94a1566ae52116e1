"""Plan a training for GPUs that are not present: memory by part, batch, steps and hours."""
