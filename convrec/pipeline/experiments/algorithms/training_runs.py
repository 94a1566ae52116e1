"""The training runs of a comparison: an algorithm, a learning rate and a seed each.

All start from the profile's SFT checkpoint and see the same number of lists. Nothing else differs,
so a run with the profile's settings is the profile's checkpoint, and cached.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convrec.artifacts import ArtifactRef, Store
from convrec.config import Config, RankGrpo
from convrec.config.choices import ALGORITHMS
from convrec.errors import ConfigError
from convrec.metrics.rewards import parse_reward
from convrec.pipeline.graph import NODES, Node
from convrec.stages.evaluate import GENERATIONS
from convrec.stages.rank_grpo.step import RANK_GRPO

BEST_METRIC = re.compile(r"validation_ndcg@\d+_best")
"""The checkpoint's figure that learning rates are compared by: `ndcg@20`, of short lists `@N`."""


@dataclass(frozen=True)
class TrainingRun:
    """One training run; `algorithm` is `rank_grpo`, `rank_grpo:REWARD`, or a baseline's name."""

    algorithm: str
    learning_rate: float
    seed: int

    @property
    def name(self) -> str:
        """A name valid for nodes, tasks and Prefect artifacts."""
        algorithm = self.algorithm.replace(":", "_").replace(".", "_")
        return f"{algorithm}_lr{self.learning_rate:.1e}_seed{self.seed}".replace(".", "_")

    def adapt(self, config: Config) -> Config:
        """Put this run's settings into a configuration; raises if they are invalid."""
        name, _, reward = self.algorithm.partition(":")
        changes: dict[str, Any] = {"algorithm": name, "learning_rate": self.learning_rate}
        if reward:
            changes["reward"] = reward
        settings = RankGrpo.model_validate({**config.rank_grpo.model_dump(), **changes})
        return config.model_copy(update={"rank_grpo": settings, "seed": self.seed})

    def checkpoint_node(self) -> Node:
        """The node of the run's checkpoint."""
        reads = NODES["checkpoint_rank_grpo"].reads
        return Node(f"checkpoint_{self.name}", RANK_GRPO, reads, adapt=self.adapt)

    def generations_node(self) -> Node:
        """The node of the run's test lists, sampled with the same settings for all runs."""
        reads = {"conversations": "conversations", "checkpoint": f"checkpoint_{self.name}"}
        return Node(f"generations_{self.name}", GENERATIONS, reads)


def plan_training_runs(
    config: Config,
    algorithms: Sequence[str],
    learning_rates: Mapping[str, Sequence[float]],
    seed: int,
) -> dict[str, list[TrainingRun]]:
    """List, for each algorithm, one run a learning rate: its own, or ½, 1 and 2 × the profile's.

    Raises ConfigError for an unknown algorithm or reward.
    """
    configured = config.rank_grpo.learning_rate
    runs: dict[str, list[TrainingRun]] = {}
    for algorithm in algorithms:
        _check_algorithm(algorithm, config)
        rates = learning_rates.get(algorithm) or (configured / 2, configured, configured * 2)
        runs[algorithm] = [TrainingRun(algorithm, rate, seed) for rate in rates]
    return runs


def best_learning_rate(
    runs: Iterable[TrainingRun], refs: Mapping[str, ArtifactRef], store: Store
) -> float:
    """The learning rate with the highest NDCG on validation; the first of equal ones."""

    def validation_ndcg(run: TrainingRun) -> float:
        figures = store.header(refs[run.checkpoint_node().name].artifact_id).figures
        return float(next(figures[name] for name in figures if BEST_METRIC.fullmatch(name)))

    return max(runs, key=validation_ndcg).learning_rate


def _check_algorithm(algorithm: str, config: Config) -> None:
    name, colon, reward = algorithm.partition(":")
    if name not in ALGORITHMS.names or (colon and name != "rank_grpo"):
        raise ConfigError(
            f"unknown algorithm {algorithm!r}: choose from {', '.join(ALGORITHMS.names)}, or "
            "rank_grpo:REWARD, such as rank_grpo:log"
        )
    if colon:
        parse_reward(reward)
    if not config.rank_grpo.eval_every:
        raise ConfigError(
            "rank_grpo.eval_every=0 disables validation, on which learning rates are chosen; set "
            "it to a number of steps, such as 20"
        )
