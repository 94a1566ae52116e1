"""Training on constrained lists: log-probabilities under the mask that the lists were written with.

A list that was sampled under a mask is an action of the masked model, so its log-probabilities
(new, old and reference) have to be those of the masked model too. The mask is not kept: it follows
from the token ids and from what was closed to the list, and is walked again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from convrec.models.generation.catalog_lines import CatalogLines, Forms
from convrec.models.generation.trie import Walk


class Allowed(NamedTuple):
    """Which tokens could come at each place of (B, T) tokens: K pairs of a place and a token.

    `place` (K,) counts through the batch, row by row; `token` (K,). Places without a pair (padding)
    are not constrained.
    """

    place: Tensor
    token: Tensor


def allowed_tokens(
    catalog: CatalogLines, n: int, ids: Tensor, mask: Tensor, closed: Tensor
) -> Allowed:
    """What could come at each place of constrained lists.

    `ids` and `mask` (which are tokens, not padding) are (B, T), `closed` is (B, lines) as it was
    given to `FromCatalog`. Raises ValueError where a list is not one that the rule can write.
    """
    walk = Walk(catalog.trie.to(ids.device), Forms.of_ranks(n), closed.to(ids.device))
    places, tokens = [], []
    for column in range(ids.shape[1]):
        rows = mask[:, column].bool().nonzero().flatten()
        if not len(rows):
            break
        options, child, allowed = walk.options(rows)
        hit = allowed & (options == ids[rows, column, None])
        if not bool(hit.any(dim=1).all()):
            raise ValueError(f"a list has a token at {column} that no allowed line has there")
        walk.step(rows, child[hit])
        row, slot = allowed.nonzero(as_tuple=True)
        places.append(rows[row] * ids.shape[1] + column)
        tokens.append(options[row, slot])
    return Allowed(torch.cat(places), torch.cat(tokens))


def masked_logps(logits: Tensor, ids: Tensor, allowed: Allowed) -> tuple[Tensor, Tensor]:
    """Log-probability of each token among what could come, and the entropy there: both (B, T).

    `logits` are (B, T, V), at the temperature of sampling; entry t is what predicts `ids[:, t]`.
    Places that are not constrained get 0. The gradient reaches `logits`.
    """
    flat = logits.flatten(0, 1)
    among = flat[allowed.place, allowed.token].float()
    top = among.new_full((len(flat),), -torch.inf)
    top = top.scatter_reduce(0, allowed.place, among.detach(), "amax")
    total = among.new_zeros(len(flat))
    weight = (among - top[allowed.place]).exp()
    total = total.index_add(0, allowed.place, weight)
    logps = among - top[allowed.place] - total[allowed.place].log()
    taken = allowed.token == ids.flatten()[allowed.place]
    zero = among.new_zeros(len(flat))
    entropy = zero.index_add(0, allowed.place, -logps.exp() * logps)
    own = zero.index_put((allowed.place[taken],), logps[taken])
    return own.view_as(ids), entropy.view_as(ids)


def constrained_logps(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    allowed: Allowed,
    *,
    keep: int,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """`masked_logps` of the last `keep` tokens of prompts and completions: both (B, keep)."""
    logits = model(
        input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=keep + 1
    ).logits[:, :-1]
    return masked_logps(logits / temperature, input_ids[:, -keep:], allowed)
