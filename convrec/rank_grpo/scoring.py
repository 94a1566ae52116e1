"""The reward functions that TRL calls: one number a list, and what is watched on the way.

Every algorithm logs the same figures, so that their curves can be laid side by side: NDCG at N as
the reward of a list, relevance by bucket of ranks, and the rates that evaluation measures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from convrec.catalog.index import TitleIndex
from convrec.evaluate.ndcg import ndcg
from convrec.evaluate.rates import RATES, list_rates
from convrec.lists import TITLE_YEAR, LineFormat
from convrec.rank_grpo.rewards import Reward, relevance
from convrec.relevance import Titled, judge_lines, list_lines

BUCKETS = 4
"""Into how many parts the ranks are cut for the curves."""


class ListScorer:
    """Scores completions against the `seen` and `ground_truth` of their dataset rows."""

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
        self.index = index
        self.n_ranks = n_ranks
        self.reward = reward
        self.years = years
        self.form = form

    def rank_rewards(self, completion: str, row: dict[str, Any]) -> list[float]:
        """Rewards of ranks 1 to N, as RankGRPOTrainer asks for them."""
        return self.reward(
            relevance(
                completion,
                self.index,
                titled(row["seen"]),
                titled(row["ground_truth"]),
                self.n_ranks,
                self.form,
            )
        )

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
        earned = np.zeros((len(completions), self.n_ranks))
        rates = np.zeros((len(completions), len(RATES)))
        for row, text in enumerate(completions):
            lines = list_lines(text)
            judged = judge_lines(
                lines[: self.n_ranks],
                self.index,
                titled(seen[row]),
                titled(ground_truth[row]),
                self.form,
            )
            earned[row, : len(judged)] = [line.truth is not None for line in judged]
            rates[row] = list_rates(judged, len(lines), self.n_ranks, years=self.years)
        self._log(earned, rates, log_metric)
        truths = np.array([len(items) for items in ground_truth])
        return [float(value) for value in ndcg(earned, truths, self.n_ranks)]

    def _log(self, earned: Any, rates: Any, log_metric: Callable[[str, float], None]) -> None:
        for name, value in zip(RATES, rates.mean(axis=0), strict=True):
            log_metric(name, float(value))
        for part in np.array_split(np.arange(self.n_ranks), min(BUCKETS, self.n_ranks)):
            log_metric(f"relevance/{part[0] + 1}-{part[-1] + 1}", float(earned[:, part].mean()))


def titled(items: list[dict[str, Any]]) -> list[Titled]:
    """Titles and years from structs, as the warehouse and Arrow hold them."""
    return [(item["title"], item["year"]) for item in items]
