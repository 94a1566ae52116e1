"""Segments, advantages and the objective: cases worked by hand, and published values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convrec.rank_grpo import rank_advantages, rank_grpo_loss, segment_ranks, token_advantages
from convrec.rank_grpo.advantages import fault_advantages
from convrec.rank_grpo.segments import rank_counts, span_mean, span_sizes

NEWLINE, TWO_NEWLINES, EOS = 1, 2, 0


def counts() -> torch.Tensor:
    table = torch.zeros(10, dtype=torch.long)
    table[NEWLINE], table[TWO_NEWLINES] = 1, 2
    return table


def test_a_newline_belongs_to_the_rank_that_it_ends() -> None:
    ids = torch.tensor([[5, NEWLINE, 6, 7, NEWLINE, EOS, EOS]])
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 0]])
    assert segment_ranks(ids, mask, counts()).tolist() == [[0, 0, 1, 1, 1, 2, -1]]


def test_a_blank_line_is_a_rank_without_tokens() -> None:
    ids = torch.tensor([[5, TWO_NEWLINES, 6, EOS]])
    assert segment_ranks(ids, torch.ones_like(ids), counts()).tolist() == [[0, 0, 2, 2]]


ROWS = st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=5)


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(1, *map(len, rows)) if rows else 1
    ids = torch.tensor([row + [EOS] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


@given(ROWS)
def test_segments_agree_with_a_loop_over_tokens(rows: list[list[int]]) -> None:
    ids, mask = padded(rows)
    found = segment_ranks(ids, mask, counts()).tolist()
    for row, segments in zip(rows, found, strict=True):
        rank = 0
        for token, segment in zip(row, segments, strict=False):
            assert segment == rank
            rank += {NEWLINE: 1, TWO_NEWLINES: 2}.get(token, 0)
        assert segments[len(row) :] == [-1] * (len(segments) - len(row))


@given(ROWS, st.integers(1, 4), st.randoms())
def test_span_sums_agree_with_a_loop_over_spans(
    rows: list[list[int]], n_ranks: int, draw: Any
) -> None:
    ids, mask = padded(rows)
    segments = segment_ranks(ids, mask, counts())
    values = torch.tensor([[draw.random() for _ in row] for row in ids.tolist()])
    means, sizes = span_mean(values, segments, n_ranks), span_sizes(segments, n_ranks)
    marked = values > 0.5
    clipped, tokens = rank_counts(marked, segments, n_ranks).tolist()
    for row, spans in enumerate(segments.clamp(max=n_ranks).tolist()):
        for place, span in enumerate(spans):
            same = [values[row, k].item() for k, other in enumerate(spans) if other == span >= 0]
            assert sizes[row, place] == len(same)
            assert means[row, place].item() == pytest.approx(
                sum(same) / max(1, len(same)), abs=1e-6
            )
    for rank in range(n_ranks):
        assert tokens[rank] == (segments == rank).sum()
        assert clipped[rank] == ((segments == rank) & marked).sum()


def test_span_means_pool_all_tokens_past_the_last_rank() -> None:
    segments = torch.tensor([[0, 0, 1, 2, 3, -1]])
    values = torch.tensor([[1.0, 3.0, 5.0, 7.0, 9.0, 100.0]])
    assert span_mean(values, segments, 2).tolist() == [[2.0, 2.0, 5.0, 8.0, 8.0, 0.0]]
    assert span_sizes(segments, 2).tolist() == [[2, 2, 1, 2, 2, 0]]


def test_rank_advantages_compare_each_rank_within_its_group() -> None:
    rewards = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 5.0], [2.0, 7.0]])
    unit = 0.5 / (0.5**0.5 + 1e-4)
    expected = torch.tensor([[unit, 0.0], [-unit, 0.0], [0.0, -1.0], [0.0, 1.0]])
    expected[2:, 1] /= 2**0.5 + 1e-4
    assert torch.allclose(rank_advantages(rewards, 2), expected)


def test_a_fault_costs_the_distance_to_its_group() -> None:
    faults = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    expected = torch.tensor([[-0.5, 0.0], [0.5, 0.0], [0.0, -0.5], [0.0, 0.5]])
    assert torch.equal(fault_advantages(faults, 2), expected)


@pytest.mark.parametrize(
    ("segments", "shaped"),
    [
        ([0, 0, 1, 1], 0.1),  # two lines, no newline at the end
        ([0, 0, 1, 2], 0.1),  # two lines, the second closed by a newline
        ([0, 0, 0, 0], -0.3),  # one line
        ([0, 0, 0, 1], -0.3),  # one line, closed by a newline
        ([0, 1, 2, 2], -0.2),  # three lines
        ([0, 1, 2, 3], -0.2),
    ],
)
def test_eos_is_shaped_by_the_number_of_lines(segments: list[int], shaped: float) -> None:
    eos = torch.tensor([[0, 0, 0, 1]])
    values = token_advantages(
        torch.tensor([[3.0, 4.0]]), torch.tensor([segments]), eos, 2, -0.2, 0.1, -0.3
    )
    before = [{0: 3.0, 1: 4.0}.get(rank, -0.2) for rank in segments[:3]]
    assert values[0].tolist() == pytest.approx([*before, shaped])


def test_padding_has_no_advantage() -> None:
    segments, eos = torch.tensor([[0, -1]]), torch.tensor([[0, 1]])
    assert token_advantages(torch.tensor([[3.0]]), segments, eos, 1).tolist() == [[3.0, 0.0]]


def test_rank_reduction_is_a_mean_of_rank_means() -> None:
    segments = torch.tensor([[0, 0, 0, 1, 2, 2], [0, 0, -1, -1, -1, -1]])
    advantages = torch.tensor([[3.0, 3.0, 3.0, 5.0, -0.1, -0.1], [7.0, 7.0, 0, 0, 0, 0]])
    logps = torch.zeros(2, 6)
    loss = rank_grpo_loss(logps, logps, None, advantages, segments, 2, beta=0, reduction="rank")
    assert loss.item() == pytest.approx(-((3 + 5 - 0.1) / 2 + (7 + 0) / 2) / 2)


def test_kl_is_a_token_mean_in_the_rank_reduction() -> None:
    segments = torch.tensor([[0, 0, 0, 1]])
    logps, ref = torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    loss = rank_grpo_loss(logps, logps, ref, torch.zeros(1, 4), segments, 2, beta=0.5)
    assert loss.item() == pytest.approx(0.5 * (torch.e - 1 - 1) / 4)


def test_a_clipped_rank_has_no_gradient() -> None:
    segments = torch.tensor([[0, 0, 1, 1]])
    logps = torch.tensor([[0.5, 0.3, 0.0, 0.0]], requires_grad=True)
    advantages = torch.ones(1, 4)
    rank_grpo_loss(logps, torch.zeros(1, 4), None, advantages, segments, 2, beta=0).backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [[0.0, 0.0, -0.25, -0.25]]


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(
        (shared / "parity" / "rank_grpo_loss.json").read_text(encoding="utf-8")
    )
    return values


def published_batch(published: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor(published["completion_ids"])
    mask = torch.tensor(published["completion_mask"])
    table = torch.zeros(int(ids.max()) + 1, dtype=torch.long)
    table[published["newline_id"]] = 1
    segments = segment_ranks(ids, mask, table)
    advantages = token_advantages(
        rank_advantages(torch.tensor(published["rank_rewards"]), published["G"]),
        segments,
        (ids == published["eos_id"]) & mask.bool(),
        published["N"],
    )
    return segments, advantages


def test_published_segments_and_token_advantages(published: dict[str, Any]) -> None:
    segments, advantages = published_batch(published)
    expected = published["expected"]
    assert segments.tolist() == expected["segment_ids"]
    assert torch.allclose(advantages, torch.tensor(expected["token_advantages"]), atol=1e-5)


@pytest.mark.parametrize(
    ("reduction", "name"),
    [("token", "loss_token_mean_over_batch"), ("sequence", "loss_token_mean_per_sequence")],
)
def test_published_loss_and_gradient(published: dict[str, Any], reduction: Any, name: str) -> None:
    segments, advantages = published_batch(published)
    logps = torch.tensor(published["logps"], requires_grad=True)
    loss = rank_grpo_loss(
        logps,
        torch.tensor(published["old_logps"]),
        torch.tensor(published["ref_logps"]),
        advantages,
        segments,
        published["N"],
        reduction=reduction,
    )
    loss.backward()
    expected = published["expected"][name]
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-5)
    assert torch.allclose(
        logps.grad if logps.grad is not None else torch.empty(0),
        torch.tensor(expected["grad_new_logps"]),
        atol=1e-5,
        rtol=0,
    )
