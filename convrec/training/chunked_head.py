"""TRL's chunked head on a CPU: less memory, and no work for prompts.

The head multiplies hidden states by the output weights in tiles of 4,096 tokens × 32,768 words.
Triton kernels turn a tile into log-probabilities in place. Without them, as on a CPU, torch makes
seven float32 copies of it: 3.6 GB for a full tile. Smaller tiles are about as fast there.

For devices that compile for each shape, TRL also scores every position where there is no Triton,
and drops those without a label afterwards. A CPU compiles nothing, so prompts can be left out.

Where the embeddings are the head's weights, autograd keeps the head's gradient until that of the
embeddings is there, at the end of the backward pass, and adds both in new memory. In one process
the head's gradient goes into `.grad` at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from trl.kernels import chunked_logprob
from trl.trainer import utils

from convrec.models.hardware import is_small
from convrec.models.memory_limits import CPU_TILE_TOKENS
from convrec.utils.distributed import process_count

_TILE, _SKIPS_UNLABELED = "TOKEN_CHUNK_SIZE", "_use_triton"
_HEAD = "_ChunkedLogProbFunction"
"""Names in TRL 1.16: a constant of its kernels, the test for devices whose shapes may vary, and the
head's autograd function."""


@contextmanager
def cpu_head(model: Any) -> Iterator[None]:
    """Adapt TRL's head for the training of this model; no change on a GPU or for a small model.

    Log-probabilities and gradients are the same up to rounding. TRL has no arguments for them, so
    its module attributes are set; another version without them is left as it is.
    """
    if torch.cuda.is_available() or is_small(model):
        yield
        return
    changes = [
        (chunked_logprob, _TILE, CPU_TILE_TOKENS),
        (utils, _SKIPS_UNLABELED, lambda device: True),
    ]
    if process_count() == 1:  # DDP learns of gradients by autograd alone
        changes.append((utils, _HEAD, _EarlyGradientHead))
    before = [(module, name, vars(module).get(name)) for module, name, _ in changes]
    try:
        for module, name, value in changes:
            if name in vars(module):
                setattr(module, name, value)
        yield
    finally:
        for module, name, original in before:
            if original is not None:
                setattr(module, name, original)


class _EarlyGradientHead:
    """TRL's head for weights whose gradient is added to `.grad` as soon as it is computed."""

    @staticmethod
    def apply(hidden: Tensor, weight: Tensor, *more: Any) -> Any:
        """As `ChunkedLogProbFunction.apply`."""
        if weight.is_leaf and weight.requires_grad:
            weight = _EarlyGradient.apply(weight)
        return chunked_logprob.ChunkedLogProbFunction.apply(hidden, weight, *more)


class _EarlyGradient(torch.autograd.Function):
    """A leaf as it is; its gradient is added to `.grad` in the backward pass, not by autograd."""

    @staticmethod
    def forward(ctx: Any, leaf: Tensor) -> Tensor:
        ctx.leaf = leaf
        return leaf.view_as(leaf)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        if ctx.leaf.grad is None:
            ctx.leaf.grad = gradient
        else:
            ctx.leaf.grad += gradient
