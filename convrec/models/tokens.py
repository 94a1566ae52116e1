"""Facts about a tokenizer that training and generation share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def newline_counts(tokenizer: Any, vocabulary: int) -> Tensor:
    """Newlines in the text of each token id: (vocabulary,) long, 0 for ids without text."""
    texts = tokenizer.batch_decode([[i] for i in range(min(len(tokenizer), vocabulary))])
    counts = torch.zeros(vocabulary, dtype=torch.long)
    counts[: len(texts)] = torch.tensor([text.count("\n") for text in texts])
    return counts
