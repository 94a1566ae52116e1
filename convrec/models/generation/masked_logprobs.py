"""Log-probabilities of constrained lists under the mask that they were sampled with, for training.

The mask is not stored: it follows from the token ids and the excluded lines, and is recomputed by
following the trie.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from convrec.models.generation.catalog_lines import CatalogLines, LineForms
from convrec.models.generation.trie import TrieCursor


class AllowedTokens(NamedTuple):
    """The tokens allowed at each position of (B, T) ids, as K pairs of position and token.

    `position` (K,) indexes the flattened batch. Positions without a pair are not constrained.
    """

    position: Tensor
    token: Tensor


def allowed_tokens(
    catalog: CatalogLines, n: int, ids: Tensor, mask: Tensor, excluded: Tensor
) -> AllowedTokens:
    """The tokens that were allowed at each position of constrained lists.

    `ids` and `mask` (0 on padding) are (B, T); `excluded` (B, lines) is that of their
    `CatalogConstraint`. Raises ValueError for a list that the constraint cannot generate.
    """
    cursor = TrieCursor(catalog.trie.to(ids.device), LineForms.by_rank(n), excluded.to(ids.device))
    positions, tokens = [], []
    for column in range(ids.shape[1]):
        rows = mask[:, column].bool().nonzero().flatten()
        if not len(rows):
            break
        options, child, allowed = cursor.options(rows)
        match = allowed & (options == ids[rows, column, None])
        if not bool(match.any(dim=1).all()):
            raise ValueError(f"a list has a token at position {column} that no allowed line has")
        cursor.advance(rows, child[match])
        row, slot = allowed.nonzero(as_tuple=True)
        positions.append(rows[row] * ids.shape[1] + column)
        tokens.append(options[row, slot])
    return AllowedTokens(torch.cat(positions), torch.cat(tokens))


def masked_logps(
    logits: Tensor, ids: Tensor, allowed: AllowedTokens, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-probability of each token among the allowed ones, and the entropy there: both (B, T).

    `logits` are (B, T or more, V); entry t predicts `ids[:, t]`. Only the allowed ones are read, so
    that nothing of their size is made, except the gradient. Positions that are not constrained get
    0. Differentiable with respect to `logits`.
    """
    row, column = allowed.position // ids.shape[1], allowed.position % ids.shape[1]
    allowed_logits = logits[row, column, allowed.token].float() / temperature
    top = allowed_logits.new_full((ids.numel(),), -torch.inf)
    top = top.scatter_reduce(0, allowed.position, allowed_logits.detach(), "amax")
    total = allowed_logits.new_zeros(ids.numel())
    weight = (allowed_logits - top[allowed.position]).exp()
    total = total.index_add(0, allowed.position, weight)
    logps = allowed_logits - top[allowed.position] - total[allowed.position].log()
    taken = allowed.token == ids.flatten()[allowed.position]
    zero = allowed_logits.new_zeros(ids.numel())
    entropy = zero.index_add(0, allowed.position, -logps.exp() * logps)
    of_ids = zero.index_put((allowed.position[taken],), logps[taken])
    return of_ids.view_as(ids), entropy.view_as(ids)


def constrained_logps(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    allowed: AllowedTokens,
    *,
    keep: int,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """`masked_logps` of the last `keep` tokens of prompts and completions: both (B, keep)."""
    logits = model(
        input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=keep + 1
    ).logits
    return masked_logps(logits, input_ids[:, -keep:], allowed, temperature)
