"""Sampling the lists that Rank-GRPO learns from: TRL's rollout hook over an own decode loop.

The G samples of a prompt share its prefill: each different prompt is read once and its cache rows
are copied. Finished lists leave the batch, so the tail of a step is not spent on padding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

_SHRINK_AT = 0.75
"""Finished lists are dropped once at most this share of the batch is still being written."""


class Rollout:
    """TRL's `rollout_func`; prompts are token ids already, so that nothing is encoded twice.

    `seconds` holds what the latest call took.
    """

    def __init__(self, max_new_tokens: int, temperature: float) -> None:
        self.max_new_tokens = max_new_tokens
        self.temperature = temperature
        self.seconds = 0.0

    def __call__(self, prompts: list[list[int]], trainer: Any) -> dict[str, Any]:
        """One completion for each prompt; equal prompts in a row share their cache."""
        started = time.perf_counter()
        model = trainer.accelerator.unwrap_model(trainer.model)
        learning = model.training
        model.eval()
        with torch.no_grad(), trainer.accelerator.autocast():
            completions = sample(
                model,
                prompts,
                eos_ids=trainer.eos_token_ids,
                pad_id=trainer._tokenizer.pad_token_id,
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
            )
        model.train(learning)
        self.seconds = time.perf_counter() - started
        return {"prompt_ids": prompts, "completion_ids": completions, "logprobs": None}


def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    eos_ids: Sequence[int],
    pad_id: int,
    max_new_tokens: int,
    temperature: float,
) -> list[list[int]]:
    """Sample one completion for each prompt, in order; each ends with EOS unless it was cut."""
    cache, mask, logits = _prefill(model, prompts, pad_id)
    ends = torch.tensor(list(eos_ids), device=mask.device)
    written = torch.full((len(prompts), max_new_tokens), pad_id, device=mask.device)
    lengths = torch.full((len(prompts),), max_new_tokens, device=mask.device)
    rows = torch.arange(len(prompts), device=mask.device)
    open_ = torch.ones(len(prompts), dtype=torch.bool, device=mask.device)
    for position in range(max_new_tokens):
        chances = torch.softmax(logits.float() / temperature, dim=-1)
        tokens = torch.multinomial(chances, 1).squeeze(1)
        written[rows[open_], position] = tokens[open_]
        ended = open_ & torch.isin(tokens, ends)
        lengths[rows[ended]] = position + 1
        open_ = open_ & ~ended
        left = int(open_.sum())
        if left == 0 or position + 1 == max_new_tokens:
            break
        if left <= _SHRINK_AT * len(rows):
            cache.batch_select_indices(open_.nonzero().squeeze(1))
            tokens, mask, rows = tokens[open_], mask[open_], rows[open_]
            open_ = open_[open_]
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        logits = _forward(model, tokens.unsqueeze(1), mask, cache)
    return [ids[:n].tolist() for ids, n in zip(written.cpu(), lengths.tolist(), strict=True)]


def _prefill(
    model: Any, prompts: Sequence[Sequence[int]], pad_id: int
) -> tuple[DynamicCache, Tensor, Tensor]:
    """Read each different prompt once; cache, mask and next logits have a row for every prompt."""
    order = {tuple(prompt): None for prompt in prompts}
    place = {prompt: row for row, prompt in enumerate(order)}
    copies = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=model.device)
    width = max(len(prompt) for prompt in order)
    ids = torch.tensor([[pad_id] * (width - len(p)) + list(p) for p in order], device=model.device)
    mask = torch.tensor(
        [[0] * (width - len(p)) + [1] * len(p) for p in order], device=model.device
    )
    cache = DynamicCache(config=model.config)
    logits = _forward(model, ids, mask, cache)
    cache.batch_select_indices(copies)
    return cache, mask[copies], logits[copies]


def _forward(model: Any, ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
    """Logits of the token after `ids`: (rows, vocabulary)."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.size(1) :]
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1]
