"""Sizes at which SFT trades time for memory; `convrec.training.memory` plans with the same."""

MAX_LOGITS_GPU, MAX_LOGITS_CPU = 2**26, 2**28
"""Largest number of logits for which the loss is computed in one piece. It is larger on a CPU,
where TRL's tiled head has no fused kernel for the gradient."""

RECOMPUTE_FROM = 200_000_000
"""Parameters from which activations are recomputed instead of kept."""
