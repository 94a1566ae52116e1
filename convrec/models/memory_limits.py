"""Sizes at which trainings trade time for memory; `convrec.training.memory` plans with the same."""

MAX_LOGITS_GPU, MAX_LOGITS_CPU = 2**26, 2**28
"""Largest number of logits for which SFT computes the loss in one piece. It is larger on a CPU,
where TRL's tiled head has no fused kernel for the gradient."""

CPU_TILE_TOKENS = 32
"""Tokens of a tile of TRL's head on a CPU, for models that are not small (`chunked_head`)."""
