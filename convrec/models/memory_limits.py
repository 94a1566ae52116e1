"""Sizes at which sft trades time for memory; `convrec.operations.sizing` plans with the same."""

LOGITS_AT_ONCE = 2**26
"""Logits (256 MB in float32) up to which the loss is taken in one piece on a GPU."""

LOGITS_AT_ONCE_CPU = 2**28
"""The same on a CPU, where TRL's tiled head has no kernel for the gradient."""

CHECKPOINTED = 200_000_000
"""Parameters from which activations are recomputed rather than kept."""
