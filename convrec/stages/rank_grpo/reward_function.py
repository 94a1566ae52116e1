"""The reward functions that TRL calls: one number a list, and what is watched on the way.

Every algorithm logs the same figures, so that their curves can be laid side by side: NDCG at N as
the reward of a list, the reward of every rank, relevance by bucket of ranks, and the rates that
evaluation measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from convrec.metrics.list_quality import RATES, list_rates
from convrec.metrics.ndcg import ndcg
from convrec.metrics.relevance import Titled, list_lines, match_lines, titled
from convrec.metrics.rewards import Reward
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import TITLE_YEAR, LineFormat

BUCKETS = 4
"""Into how many parts the ranks are cut for the curves."""

_REMEMBERED = 4096
"""Judged lists that are remembered."""

Titles = Iterable[Mapping[str, Any]]
Judged = tuple[list[float], list[float], tuple[float, ...]]
"""The relevance of ranks 1 to N, their faults, and the RATES of the list."""


class _Remembering(TitleIndex):
    """An index that looks each title up once: the lists of a training are of a few titles."""

    def __init__(self, index: TitleIndex) -> None:
        self._find = lru_cache(maxsize=1 << 16)(index.find)

    def find(self, title: str, year: int | None) -> str | None:
        """As the index finds it."""
        return self._find(title, year)


class ListScorer:
    """Scores completions against the `seen` and `ground_truth` of their dataset rows.

    A list is judged once, though both the ranks and the list as a whole ask for it.
    """

    __name__ = "ndcg"
    """TRL's name of the reward in its logs."""

    def __init__(
        self,
        index: TitleIndex,
        n_ranks: int,
        reward: Reward,
        *,
        years: bool,
        form: LineFormat = TITLE_YEAR,
    ) -> None:
        self.index = _Remembering(index)
        self.n_ranks = n_ranks
        self.reward = reward
        self.years = years
        self.form = form
        self._judged = lru_cache(maxsize=_REMEMBERED)(self._judge)

    def rank_rewards(self, completion: str, row: Mapping[str, Any]) -> list[float]:
        """Rewards of ranks 1 to N, as RankGRPOTrainer asks for them."""
        return self.reward(self._of(completion, row["seen"], row["ground_truth"])[0])

    def rank_faults(self, completion: str, row: Mapping[str, Any]) -> list[float]:
        """1 at each rank whose line is outside the catalog, seen, a repeat or not to be read."""
        return self._of(completion, row["seen"], row["ground_truth"])[1]

    def __call__(
        self,
        *,
        completions: list[str],
        seen: list[list[dict[str, Any]]],
        ground_truth: list[list[dict[str, Any]]],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        """NDCG of each completion, as TRL asks for it; logs the figures of the batch."""
        judged = list(map(self._of, completions, seen, ground_truth))
        earned = np.array([relevance for relevance, _, _ in judged])  # (B, N)
        rewards = np.array([self.reward(relevance) for relevance, _, _ in judged])
        self._log(earned, rewards, np.array([rates for _, _, rates in judged]), log_metric)
        truths = np.array([len(items) for items in ground_truth])
        return [float(value) for value in ndcg(earned, truths, self.n_ranks)]

    def _of(self, completion: str, seen: Titles, ground_truth: Titles) -> Judged:
        return self._judged(completion, tuple(titled(seen)), tuple(titled(ground_truth)))

    def _judge(
        self, completion: str, seen: tuple[Titled, ...], ground_truth: tuple[Titled, ...]
    ) -> Judged:
        lines = list_lines(completion)
        judged = match_lines(lines[: self.n_ranks], self.index, seen, ground_truth, self.form)
        relevance = [float(line.truth is not None) for line in judged]
        faults = [float(x.item_id is None or x.repeat or x.seen) for x in judged]
        missing = [0.0] * (self.n_ranks - len(judged))
        rates = list_rates(judged, len(lines), self.n_ranks, years=self.years)
        return relevance + missing, faults + missing, rates

    def _log(
        self, earned: Any, rewards: Any, rates: Any, log_metric: Callable[[str, float], None]
    ) -> None:
        for name, value in zip(RATES, rates.mean(axis=0), strict=True):
            log_metric(name, float(value))
        for rank, value in enumerate(rewards.mean(axis=0), start=1):
            log_metric(f"reward@rank{rank}", float(value))
        for part in np.array_split(np.arange(self.n_ranks), min(BUCKETS, self.n_ranks)):
            log_metric(f"relevance/{part[0] + 1}-{part[-1] + 1}", float(earned[:, part].mean()))
