"""Sampling for training: groups share a prefill and keep their order."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from convrec.models.generation.catalog_lines import CatalogLines
from convrec.models.generation.masked_logprobs import allowed_tokens
from convrec.models.generation.samplers import Sampler
from convrec.models.load import load_checkpoint
from convrec.models.prompts import encode_prompt
from convrec.rank_grpo.rollout import Rollout


def trainer_of(checkpoint: Path, group: int) -> Any:
    torch.set_num_threads(1)
    student = load_checkpoint(checkpoint)
    single = {"num_processes": 1, "process_index": 0}
    return SimpleNamespace(
        model=student.model,
        processing_class=student.tokenizer,
        num_generations=group,
        accelerator=SimpleNamespace(
            unwrap_model=lambda model: model, autocast=nullcontext, **single
        ),
    )


@pytest.mark.parametrize("copies", [(3, 3), (2, 4)])
def test_complete_and_incomplete_groups_are_equal(
    checkpoint: Path, copies: tuple[int, int]
) -> None:
    trainer = trainer_of(checkpoint, 3)
    texts = ["something like Heat", "films with Big"]
    prompts = [
        encode_prompt(trainer.processing_class, text, 32)
        for text, count in zip(texts, copies, strict=True)
        for _ in range(count)
    ]
    rollout = Rollout(1.0, Sampler("free", trainer.processing_class, 0, 40))
    torch.manual_seed(0)
    shared = rollout(prompts, trainer)
    torch.manual_seed(0)
    trainer.num_generations = 1
    alone = rollout(prompts, trainer)
    assert shared["completion_ids"] == alone["completion_ids"]
    assert shared["prompt_ids"] == prompts
    assert len({tuple(ids) for ids in shared["completion_ids"]}) > 1
    assert trainer.model.training is False


def test_forced_tokens_are_masked(checkpoint: Path) -> None:
    trainer = trainer_of(checkpoint, 8)
    tokenizer = trainer.processing_class
    prompts = [encode_prompt(tokenizer, "something like Heat", 32)] * 8
    torch.manual_seed(0)
    free = Rollout(1.0, Sampler("free", tokenizer, 0, 40))(prompts, trainer)
    assert "env_mask" not in free
    torch.manual_seed(0)
    rollout = Rollout(1.0, Sampler("lines", tokenizer, 2, 40))
    stopped = rollout(prompts, trainer)
    forced = 0
    for ids, mask, other in zip(
        stopped["completion_ids"], stopped["env_mask"], free["completion_ids"], strict=True
    ):
        assert len(ids) == len(mask)
        chosen = [token for token, is_chosen in zip(ids, mask, strict=True) if is_chosen]
        assert chosen == other[: len(chosen)]
        assert mask[:-1] == [1] * (len(ids) - 1)
        forced += 1 - mask[-1]
        assert (tokenizer.decode(ids).count("\n") == 2) == (mask[-1] == 0)
    assert 0 < forced < 8


def test_constrained_lists_provide_their_excluded_lines(checkpoint: Path) -> None:
    trainer = trainer_of(checkpoint, 6)
    tokenizer = trainer.processing_class
    catalog = CatalogLines(tokenizer, ["Heat (1995)", "Alien (1979)", "Big (1988)", "Up (2009)"])
    prompts = [encode_prompt(tokenizer, "something like Heat", 32)] * 6
    seen = {tuple(prompts[0]): {"Heat (1995)"}}
    rollout = Rollout(1.0, Sampler("constrained", tokenizer, 2, 40, catalog=catalog, seen=seen))
    output = rollout(prompts, trainer)
    lists = [text.split("\n") for text in tokenizer.batch_decode(output["completion_ids"], True)]
    assert len(lists) == 6
    assert all(len(set(lines)) == 2 and "Heat (1995)" not in lines for lines in lists)
    assert rollout.excluded is not None
    width = max(map(len, output["completion_ids"]))
    ids = torch.tensor([x + [0] * (width - len(x)) for x in output["completion_ids"]])
    mask = torch.tensor([[1] * len(x) + [0] * (width - len(x)) for x in output["completion_ids"]])
    allowed = allowed_tokens(catalog, 2, ids, mask, rollout.excluded)
    choices = allowed.position.bincount(minlength=ids.numel()).view_as(ids) > 1
    chosen = torch.tensor([x + [0] * (width - len(x)) for x in output["env_mask"]])
    assert torch.equal(choices, chosen.bool())
