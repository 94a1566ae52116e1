"""Lists from a checkpoint: sampled freely for evaluation and RL, constrained for serving."""
