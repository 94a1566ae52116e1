"""Sizes at which SFT trades time for memory; `convrec.operations.sizing` plans with the same."""

MAX_LOGITS_GPU = 2**26
"""Largest number of logits (256 MB in float32) for which a GPU computes the loss in one piece."""

MAX_LOGITS_CPU = 2**28
"""The same for a CPU, where TRL's tiled head has no fused kernel for the gradient."""

RECOMPUTE_FROM = 200_000_000
"""Parameters from which activations are recomputed instead of kept."""
