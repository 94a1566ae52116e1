"""The policy gradient of lists sampled by `distinct`, against the exact one, on enumerable cases.

    python -m benchmarks.distinct_gradient [--worlds 10]

A world is a random table of token probabilities for lists of two lines, each of at most two of
three letters, and random rewards of the lines at each rank. All lists are enumerated, with the
probability that the sampler gives them: tokens toward an earlier line are less likely, and a line
that repeats all the same is drawn again, up to MAX_DRAWS times. The exact gradient is that of the
expected reward. Three log-probabilities of the sampled tokens are compared with it:

free    the model's own, as in training
fixed   under the reduced probabilities, whose tails are constants
full    the same, with the gradient of the tails

`scale` is the spread of logits, `varied` that of the two lines' tables. With `keys`, lines of the
same letters in another order are repeats, which only the second draw prevents. Prints the cosine
and the relative error: median over the worlds, and the worst.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
from torch import Tensor

from convrec.models.generation.distinct import MAX_DRAWS, MIN_REMAINING

LETTERS, NEWLINE, LINES = 3, 3, 2
SINGLE = [(letter,) for letter in range(LETTERS)]
ALL = [(), *SINGLE, *((*first, *second) for first in SINGLE for second in SINGLE)]
KINDS = ("free", "fixed", "full")


class World:
    """The table of token logits of each line, and the rewards of lines (LINES, lines)."""

    def __init__(self, seed: int, scale: float, varied: float, *, keys: bool) -> None:
        generator = torch.Generator().manual_seed(seed)
        shared = torch.randn(1 + LETTERS, LETTERS + 1, generator=generator) * scale
        own = torch.randn(LINES, 1 + LETTERS, LETTERS + 1, generator=generator) * varied
        self.logits = (shared + own).requires_grad_()
        self.rewards = torch.randn(LINES, len(ALL), generator=generator)
        self.keys = keys

    def key(self, line: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(line)) if self.keys else line

    def next_logps(self, rank: int, prefix: tuple[int, ...]) -> Tensor:
        """Of the next token; only a newline follows two letters."""
        if len(prefix) == 2:
            return torch.full((LETTERS + 1,), -torch.inf).index_fill(0, torch.tensor(NEWLINE), 0.0)
        return self.logits[rank, 1 + prefix[0] if prefix else 0].log_softmax(0)

    def token_logps(self, rank: int, line: tuple[int, ...]) -> list[Tensor]:
        tokens = (*line, NEWLINE)
        return [self.next_logps(rank, line[:i])[token] for i, token in enumerate(tokens)]

    def sampled_logp(
        self, rank: int, line: tuple[int, ...], earlier: dict, *, fixed: bool
    ) -> Tensor:
        """Of a line under the reduced probabilities; `earlier` maps lines to their ranks."""
        total, tokens = torch.zeros(()), (*line, NEWLINE)
        for i, token in enumerate(tokens):
            logps, tails = self.next_logps(rank, line[:i]), torch.zeros(LETTERS + 1)
            for other, other_rank in earlier.items():
                after = (*other, NEWLINE)
                if len(after) > i and after[:i] == tokens[:i]:
                    tail = sum(self.token_logps(other_rank, other)[i + 1 :], torch.zeros(())).exp()
                    tail = tail.detach() if fixed else tail
                    tails = tails.index_add(0, torch.tensor(after[i]), tail[None])
            tails = tails.clamp(max=1)
            remaining = 1 - (logps.exp() * tails).sum()
            if remaining < MIN_REMAINING:
                tails, remaining = torch.zeros(LETTERS + 1), torch.ones(())
            if tails[token] == 1:
                return torch.tensor(-torch.inf)
            total = total + logps[token] + (1 - tails[token]).log() - remaining.log()
        return total


def enumerate_lists(world: World) -> list[tuple[Tensor, float, dict[str, Tensor]]]:
    """The log-probability of each list, its reward, and the log-probabilities of each kind."""
    zero = torch.zeros(())
    lists = [(zero, 0.0, dict.fromkeys(KINDS, zero), {}, frozenset())]
    for rank in range(LINES):
        longer = []
        for logp, reward, sums, earlier, names in lists:
            full = [world.sampled_logp(rank, line, earlier, fixed=False) for line in ALL]
            repeats = [world.key(line) in names for line in ALL]
            again = sum((x.exp() for x, bad in zip(full, repeats, strict=True) if bad), zero)
            for place, line in enumerate(ALL):
                if full[place] == -torch.inf:
                    continue
                fixed = world.sampled_logp(rank, line, earlier, fixed=True)
                kinds = (sum(world.token_logps(rank, line), zero), fixed, full[place])
                draws = again ** (MAX_DRAWS - 1)
                if not repeats[place]:
                    draws = (1 - again**MAX_DRAWS) / (1 - again)
                earned = 0.0 if repeats[place] else float(world.rewards[rank, place])
                longer.append(
                    (
                        logp + full[place] + draws.log(),
                        reward + earned,
                        {k: sums[k] + x for k, x in zip(KINDS, kinds, strict=True)},
                        earlier if repeats[place] else {**earlier, line: rank},
                        names | {world.key(line)},
                    )
                )
        lists = longer
    return [x[:3] for x in lists]


def compare(world: World) -> dict[str, tuple[float, float]]:
    """The cosine of each kind's gradient with the exact one, and its relative error."""
    lists = enumerate_lists(world)
    probs = torch.stack([logp for logp, _, _ in lists]).exp()
    rewards = torch.tensor([reward for _, reward, _ in lists])
    assert abs(probs.sum().item() - 1) < 1e-9

    def gradient(value: Tensor) -> Tensor:
        return torch.autograd.grad(value, world.logits, retain_graph=True)[0].flatten()

    exact = gradient((probs * rewards).sum())
    weights = (probs * (rewards - (probs * rewards).sum())).detach()
    found = {}
    for kind in KINDS:
        estimate = gradient((weights * torch.stack([sums[kind] for _, _, sums in lists])).sum())
        cosine = float(torch.nn.functional.cosine_similarity(estimate, exact, dim=0))
        found[kind] = cosine, float((estimate - exact).norm() / exact.norm())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=10)
    worlds = parser.parse_args().worlds
    torch.set_default_dtype(torch.float64)
    print(f"{'scale':>5} {'varied':>6} {'keys':>5} {'':6} {'cosine':>14} {'error':>14}")
    for scale, varied, keys in ((1, 0, False), (1, 1, False), (2, 0.5, False), (2, 0.5, True)):
        found = [compare(World(seed, scale, varied, keys=keys)) for seed in range(worlds)]
        for kind in KINDS:
            cosines, errors = zip(*(each[kind] for each in found), strict=True)
            print(
                f"{scale:5} {varied:6} {keys!s:>5} {kind:6}"
                f" {median(cosines):6.3f} ({min(cosines):5.2f})"
                f" {median(errors):6.3f} ({max(errors):5.2f})"
            )


if __name__ == "__main__":
    main()
