"""The reward functions that TRL calls, and the metrics that every algorithm logs with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from convrec.config import Config
from convrec.metrics.list_quality import QUALITY_METRICS, quality_of_list
from convrec.metrics.ndcg import ndcg
from convrec.metrics.relevance import TitleAndYear, list_lines, match_lines, titles_and_years
from convrec.metrics.rewards import RankReward, parse_reward
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import DEFAULT_FORMAT, LineFormat

BUCKETS = 4
"""Number of buckets of ranks in the relevance curves."""

_CACHED_SCORES, _CACHED_TITLES = 4096, 1 << 16

Titles = Iterable[Mapping[str, Any]]
"""Structs of title and year."""


class ListScore(NamedTuple):
    """Relevance and faults of ranks 1 to N, and the QUALITY_METRICS of the list."""

    relevance: list[float]
    faults: list[float]
    quality: tuple[float, ...]


class _CachedIndex(TitleIndex):
    """A title index that caches lookups: sampled lists repeat few titles."""

    def __init__(self, index: TitleIndex) -> None:
        self._find = lru_cache(maxsize=_CACHED_TITLES)(index.find)

    def find(self, title: str, year: int | None) -> str | None:
        """As `TitleIndex.find`."""
        return self._find(title, year)


class ListScorer:
    """Scores completions against the `seen` and `ground_truth` of their dataset rows.

    The latest scores are cached, because rank rewards and list rewards ask for the same lists.
    """

    __name__ = "ndcg"
    """The name of the reward in TRL's logs."""

    def __init__(
        self,
        index: TitleIndex,
        n_ranks: int,
        reward: RankReward,
        *,
        years: bool,
        line_format: LineFormat = DEFAULT_FORMAT,
    ) -> None:
        self.index = _CachedIndex(index)
        self.n_ranks = n_ranks
        self.reward = reward
        self.years = years
        self.line_format = line_format
        self._score_cached = lru_cache(maxsize=_CACHED_SCORES)(self._score)

    def rank_rewards(self, completion: str, row: Mapping[str, Any]) -> list[float]:
        """Rewards of ranks 1 to N, for `RankGRPOTrainer`."""
        return self.reward(self._score_row(completion, row["seen"], row["ground_truth"]).relevance)

    def rank_faults(self, completion: str, row: Mapping[str, Any]) -> list[float]:
        """1 for each rank whose line is not in the catalog, seen, a repeat or malformed, else 0."""
        return self._score_row(completion, row["seen"], row["ground_truth"]).faults

    def list_reward(self, completion: str, row: Mapping[str, Any]) -> float:
        """NDCG@N of a list."""
        score = self._score_row(completion, row["seen"], row["ground_truth"])
        truths = np.array([len(row["ground_truth"])])
        return float(ndcg(np.array([score.relevance]), truths, self.n_ranks)[0])

    def __call__(
        self,
        *,
        completions: list[str],
        seen: list[list[dict[str, Any]]],
        ground_truth: list[list[dict[str, Any]]],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        """NDCG@N of each completion, as a TRL reward function; logs the metrics of the batch."""
        scores = list(map(self._score_row, completions, seen, ground_truth))
        relevance = np.array([score.relevance for score in scores])  # (B, N)
        rewards = np.array([self.reward(score.relevance) for score in scores])  # (B, N)
        quality = np.array([score.quality for score in scores])  # (B, metrics)
        for name, value in zip(QUALITY_METRICS, quality.mean(axis=0), strict=True):
            log_metric(name, float(value))
        for rank, value in enumerate(rewards.mean(axis=0), start=1):
            log_metric(f"reward@rank{rank}", float(value))
        for part in np.array_split(np.arange(self.n_ranks), min(BUCKETS, self.n_ranks)):
            mean = relevance[:, part].mean()
            log_metric(f"relevance/{part[0] + 1}-{part[-1] + 1}", float(mean))
        truths = np.array([len(items) for items in ground_truth])
        return [float(value) for value in ndcg(relevance, truths, self.n_ranks)]

    def _score_row(self, completion: str, seen: Titles, ground_truth: Titles) -> ListScore:
        return self._score_cached(
            completion, tuple(titles_and_years(seen)), tuple(titles_and_years(ground_truth))
        )

    def _score(
        self,
        completion: str,
        seen: tuple[TitleAndYear, ...],
        ground_truth: tuple[TitleAndYear, ...],
    ) -> ListScore:
        lines = list_lines(completion)
        matched = match_lines(
            lines[: self.n_ranks], self.index, seen, ground_truth, self.line_format
        )
        relevance = [float(line.truth is not None) for line in matched]
        faults = [float(x.item_id is None or x.repeat or x.seen) for x in matched]
        missing = [0.0] * (self.n_ranks - len(matched))
        quality = quality_of_list(matched, len(lines), self.n_ranks, years=self.years)
        return ListScore(relevance + missing, faults + missing, quality)


def make_scorer(index: TitleIndex, config: Config) -> ListScorer:
    """The scorer of a training's lists."""
    return ListScorer(
        index,
        config.list_length,
        parse_reward(config.rank_grpo.reward),
        years=config.line_format.has_years,
        line_format=config.line_format,
    )
