"""Facts about a tokenizer that training and generation share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def newline_counts(tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> Tensor:
    """Newlines in the text of each token id: (vocabulary,) long, 0 for ids without a text."""
    texts = tokenizer.batch_decode([[i] for i in range(min(len(tokenizer), vocabulary))])
    counts = torch.zeros(vocabulary, dtype=torch.long)
    counts[: len(texts)] = torch.tensor([text.count("\n") for text in texts])
    return counts
