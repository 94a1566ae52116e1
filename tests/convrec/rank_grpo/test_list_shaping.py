from __future__ import annotations

import pytest
import torch

from convrec.rank_grpo.advantages import Shaping, list_shaping
from convrec.rank_grpo.segments import segment_ranks

EOS, WORD, NEWLINE = 0, 1, 2
NEWLINE_COUNTS = torch.tensor([0, 0, 1])
SHAPING = Shaping(overflow=-0.3, exact=0.2, early=-1.0, fault=1.5)
N = 3


def shaping(tokens: list[int], faults: list[float], *, added_eos: bool = False) -> float:
    """The value of one list, with a token of padding."""
    ids = torch.tensor([[*tokens, EOS]])
    mask = torch.tensor([[1] * len(tokens) + [0]])
    chosen = mask.clone()
    if added_eos:
        chosen[0, len(tokens) - 1] = 0
    value = list_shaping(
        segment_ranks(ids, mask, NEWLINE_COUNTS),
        (ids == EOS) & mask.bool(),
        NEWLINE_COUNTS[ids],
        chosen,
        torch.tensor([faults]),
        SHAPING,
    )
    return float(value)


NO_FAULTS = [0.0, 0.0, 0.0]
LINE = [WORD, NEWLINE]


@pytest.mark.parametrize(
    ("tokens", "length"),
    [
        ([*LINE, *LINE, WORD, EOS], 0.2),
        ([*LINE, WORD, EOS], -1.0),
        ([*LINE, *LINE, *LINE, WORD, WORD, EOS], -0.3),
        ([*LINE, *LINE, *LINE, EOS], (0.2 - 0.3) / 2),  # goes on, then ends
        ([*LINE, WORD], 0.0),  # cut: nothing decided on the length
    ],
)
def test_the_length_of_a_list_counts_as_one_rank(tokens: list[int], length: float) -> None:
    assert shaping(tokens, NO_FAULTS) == pytest.approx(length / N)


def test_a_token_that_the_sampler_added_does_not_count() -> None:
    tokens = [*LINE, *LINE, *LINE, EOS]
    assert shaping(tokens, NO_FAULTS, added_eos=True) == pytest.approx(-0.3 / N)


def test_a_faulty_line_costs_its_weight() -> None:
    tokens = [*LINE, *LINE, WORD, EOS]
    assert shaping(tokens, [1.0, 0.0, 1.0]) == pytest.approx((0.2 - 1.5 * 2) / N)
