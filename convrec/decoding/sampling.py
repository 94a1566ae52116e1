"""Unconstrained sampling: what the model says by itself, as evaluation and Rank-GRPO need it.

An own decode loop rather than `generate`: the samples of one prompt share its prefill, and lists
that have ended leave the batch. Each list draws from its own row of random numbers, so it does not
depend on which lists happen to share its batch (up to rounding in the matrix products).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from convrec.config import Config
from convrec.sft.prompts import encode_prompt
from convrec.sft.student import Student, is_small, load_checkpoint

Progress = Callable[[int, int, str], None]


def sample_lists(
    folder: Path,
    prompts: Sequence[str],
    *,
    config: Config,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress = lambda done, total, text: None,
) -> list[list[str]]:
    """`samples` answers of the checkpoint in `folder` to each prompt text, in order.

    An answer ends before its end-of-sequence token, or after `model.max_completion_tokens`.
    Temperature 0 is greedy. `evaluate.batch_size` is the number of lists written at once.
    """
    student = load_checkpoint(folder)
    if torch.cuda.is_available():
        student.model.cuda()
    return sample_texts(
        student,
        prompts,
        config=config,
        samples=samples,
        temperature=temperature,
        seed=seed,
        progress=progress,
    )


def sample_texts(
    student: Student,
    prompts: Sequence[str],
    *,
    config: Config,
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    progress: Progress = lambda done, total, text: None,
) -> list[list[str]]:
    """`sample_lists` with a student that is already in memory."""
    model, tokenizer = student
    room = config.model.max_prompt_tokens
    encoded = [encode_prompt(tokenizer, prompt, room) for prompt in prompts]
    draws = uniforms(len(prompts) * samples, config.model.max_completion_tokens, seed)
    answers: list[list[str]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    together = max(1, config.evaluate.batch_size // samples)
    for start in range(0, len(order), together):
        batch = order[start : start + together]
        rows = [i * samples + draw for i in batch for draw in range(samples)]
        lists = sample_batch(
            model,
            tokenizer,
            [encoded[i] for i in batch],
            samples=samples,
            temperature=temperature,
            draws=draws[rows],
        )
        for position, ids in enumerate(lists):
            answers[batch[position // samples]].append(answer_text(tokenizer, ids))
        progress(min(start + together, len(order)), len(order), "prompts answered")
    return answers


def uniforms(rows: int, max_tokens: int, seed: int) -> torch.Tensor:
    """The random numbers of `rows` lists: (rows, max_tokens), uniform on [0, 1)."""
    return torch.rand(rows, max_tokens, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def sample_batch(
    model: Any,
    tokenizer: Any,
    prompt_ids: Sequence[Sequence[int]],
    *,
    draws: torch.Tensor,
    samples: int = 1,
    temperature: float = 1.0,
) -> list[list[int]]:
    """Token ids of `samples` answers to each prompt, one prompt's answers next to each other.

    `draws` is (len(prompt_ids) * samples, max_tokens), from `uniforms`; it decides how long an
    answer may get. An answer that has ended carries its end-of-sequence token as its last id. The
    model is left in the mode (train or eval) in which it came.
    """
    was_training, threads = model.training, torch.get_num_threads()
    model.eval()
    if is_small(model):
        torch.set_num_threads(1)
    try:
        return _decode(model, tokenizer, prompt_ids, draws.to(model.device), samples, temperature)
    finally:
        model.train(was_training)
        torch.set_num_threads(threads)


def answer_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of sampled ids without the end-of-sequence token; other special tokens stay."""
    if ids and ids[-1] == tokenizer.eos_token_id:
        ids = ids[:-1]
    text: str = tokenizer.decode(ids, skip_special_tokens=False)
    return text


def _decode(
    model: Any,
    tokenizer: Any,
    prompt_ids: Sequence[Sequence[int]],
    draws: torch.Tensor,
    samples: int,
    temperature: float,
) -> list[list[int]]:
    count, max_tokens = draws.shape
    logits, cache, mask = _prefill(model, tokenizer, prompt_ids, samples)
    positions = mask.sum(1, keepdim=True)  # (B, 1): where the next token stands
    tokens = torch.full((count, max_tokens), -1, device=model.device)
    alive = torch.arange(count, device=model.device)  # row of `tokens` for each row in the batch
    open_ = torch.ones_like(alive, dtype=torch.bool)
    for step in range(max_tokens):
        chosen = choose(logits, temperature, draws[alive, step])
        tokens[alive[open_], step] = chosen[open_]
        open_ &= chosen != tokenizer.eos_token_id
        still = int(open_.sum())
        if still == 0 or step == max_tokens - 1:
            break
        if 4 * still <= 3 * len(open_):
            alive, chosen, mask, positions = (x[open_] for x in (alive, chosen, mask, positions))
            cache.batch_select_indices(open_.nonzero().flatten())
            open_ = open_[open_]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        out = model(
            input_ids=chosen[:, None],
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        logits, positions = out.logits[:, -1], positions + 1
    return [[token for token in row if token >= 0] for row in tokens.tolist()]


def _prefill(
    model: Any, tokenizer: Any, prompt_ids: Sequence[Sequence[int]], samples: int
) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Logits of the first token (B, V), cache, and mask (B, L), prompts padded on the left."""
    length = max(map(len, prompt_ids))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (length - len(p)) + list(p) for p in prompt_ids])
    mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompt_ids])
    ids, mask = ids.to(model.device), mask.to(model.device)
    cache = DynamicCache(config=model.config)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    cache.batch_repeat_interleave(samples)
    return (
        out.logits[:, -1].repeat_interleave(samples, dim=0),
        cache,
        mask.repeat_interleave(samples, dim=0),
    )


def choose(logits: torch.Tensor, temperature: float, draw: torch.Tensor) -> torch.Tensor:
    """One token a row by inverting the cumulative distribution at `draw`: (B, V), (B,) -> (B,)."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    cumulative = (logits.float() / temperature).softmax(dim=-1).double().cumsum(dim=-1)
    target = draw[:, None].double() * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
