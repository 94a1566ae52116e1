"""Log-probabilities of constrained lists equal those of the sampler."""

from __future__ import annotations

import pytest
import torch

from convrec.models.generation.catalog_constraint import CatalogConstraint
from convrec.models.generation.catalog_lines import CatalogLines
from convrec.models.generation.loop import generate_lists
from convrec.models.generation.masked_logprobs import (
    AllowedTokens,
    allowed_tokens,
    constrained_logps,
    masked_logps,
)
from convrec.models.generation.multinomial import uniform_draws
from convrec.models.load import Student
from convrec.models.prompts import encode_prompt

FILMS = ["Alien (1979)", "Alien", "Aliens (1986)", "Heat (1995)", "Up (2009)", "Up (2010)"]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_log_probabilities_equal_those_of_the_sampler(student: Student, temperature: float) -> None:
    tokenizer = student.tokenizer
    catalog = CatalogLines(tokenizer, FILMS)
    excluded = catalog.excluded([{"Heat (1995)"}] * 6, 4)
    prompt = encode_prompt(tokenizer, "Heat", 64)
    generated = generate_lists(
        *student,
        [prompt],
        CatalogConstraint(catalog, 4, excluded),
        draws=uniform_draws(6, catalog.max_tokens(4), 0),
        samples=6,
        temperature=temperature,
    )
    keep = max(len(x.ids) for x in generated)
    pad = [keep - len(x.ids) for x in generated]
    ids = torch.tensor([x.ids + [0] * p for x, p in zip(generated, pad, strict=True)])
    mask = torch.tensor([[1] * len(x.ids) + [0] * p for x, p in zip(generated, pad, strict=True)])
    logps = torch.tensor([x.logps + [0.0] * p for x, p in zip(generated, pad, strict=True)])
    chosen = torch.tensor([x.chosen + [False] * p for x, p in zip(generated, pad, strict=True)])
    allowed = allowed_tokens(catalog, 4, ids, mask, excluded)
    full_ids = torch.cat([torch.tensor([prompt] * 6), ids], dim=1)
    full_mask = torch.cat([torch.ones(6, len(prompt), dtype=torch.long), mask], dim=1)
    computed, entropy = constrained_logps(
        student.model, full_ids, full_mask, allowed, keep=keep, temperature=temperature
    )
    torch.testing.assert_close(computed, logps, atol=2e-4, rtol=1e-4)
    assert ((entropy > 1e-9) <= chosen).all()
    assert chosen.any()
    computed.sum().backward()
    gradient = student.model.model.embed_tokens.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_a_choice_between_two_tokens_by_hand() -> None:
    logits = torch.tensor([[[0.0, 1.0, 5.0], [0.0, 0.0, 0.0]]])
    allowed = AllowedTokens(position=torch.tensor([0, 0]), token=torch.tensor([0, 1]))
    logps, entropy = masked_logps(logits, torch.tensor([[1, 2]]), allowed)
    share = torch.tensor([0.0, 1.0]).softmax(0)
    assert logps.tolist() == [[pytest.approx(share[1].log().item()), 0.0]]
    assert entropy[0, 0].item() == pytest.approx(-(share * share.log()).sum().item())


def test_an_impossible_list_is_refused(student: Student) -> None:
    catalog = CatalogLines(student.tokenizer, FILMS)
    ids = torch.tensor([student.tokenizer("Up (2009)\nUp (2009)\n")["input_ids"]])
    with pytest.raises(ValueError, match="no allowed line"):
        allowed_tokens(catalog, 3, ids, torch.ones_like(ids), catalog.excluded([()], 3))
