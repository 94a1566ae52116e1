"""The trainings of a comparison: an algorithm, a learning rate and a seed each.

All start from the profile's own SFT checkpoint and see as many lists. Only what is named here
differs, so a training with the profile's own settings is the profile's own checkpoint, and cached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from convrec.config import Config, RankGrpo
from convrec.errors import ConfigError
from convrec.pipeline.graph import NODES, Node
from convrec.stages.evaluate import GENERATIONS
from convrec.stages.rank_grpo.step import RANK_GRPO

if TYPE_CHECKING:
    from convrec.artifacts import ArtifactRef, Store

ALGORITHM_NAMES: tuple[str, ...] = get_args(RankGrpo.model_fields["algorithm"].annotation)
BEST = "validation_ndcg@20_best"
"""The figure of a checkpoint that the learning rate is chosen by."""


@dataclass(frozen=True)
class TrainingRun:
    """One training; `algorithm` is `rank_grpo`, `rank_grpo:REWARD`, or a baseline's name."""

    algorithm: str
    learning_rate: float
    seed: int

    @property
    def name(self) -> str:
        """A name that is allowed everywhere: of nodes, tasks and Prefect artifacts."""
        algorithm = self.algorithm.replace(":", "_").replace(".", "_")
        return f"{algorithm}_lr{self.learning_rate:.1e}_seed{self.seed}".replace(".", "_")

    def adapt(self, config: Config) -> Config:
        """The run's configuration with this training's settings; checked anew."""
        name, _, reward = self.algorithm.partition(":")
        changed: dict[str, Any] = {"algorithm": name, "learning_rate": self.learning_rate}
        if reward:
            changed["reward"] = reward
        settings = RankGrpo.model_validate({**config.rank_grpo.model_dump(), **changed})
        return config.model_copy(update={"rank_grpo": settings, "seed": self.seed})

    def checkpoint(self) -> Node:
        """The node of its weights."""
        reads = NODES["checkpoint_rank_grpo"].reads
        return Node(f"checkpoint_{self.name}", RANK_GRPO, reads, adapt=self.adapt)

    def generations(self) -> Node:
        """The node of its lists for the test split; they are drawn alike for all trainings."""
        reads = {"conversations": "conversations", "checkpoint": f"checkpoint_{self.name}"}
        return Node(f"generations_{self.name}", GENERATIONS, reads)


def trainings(
    config: Config, algorithms: Sequence[str], rates: Mapping[str, Sequence[float]], seed: int
) -> dict[str, list[TrainingRun]]:
    """For each algorithm, one training a learning rate: those to choose between.

    An algorithm without `rates` is tried at half the profile's, the profile's, and twice that.
    Raises ConfigError for an algorithm or reward that is not known.
    """
    own = config.rank_grpo.learning_rate
    found: dict[str, list[TrainingRun]] = {}
    for algorithm in algorithms:
        _check(algorithm, config)
        tried = rates.get(algorithm) or (own / 2, own, own * 2)
        found[algorithm] = [TrainingRun(algorithm, rate, seed) for rate in tried]
    return found


def best_rate(tried: Iterable[TrainingRun], refs: Mapping[str, ArtifactRef], store: Store) -> float:
    """The learning rate whose best NDCG@20 on validation is highest; the first of equals."""

    def reached(training: TrainingRun) -> float:
        ref = refs[training.checkpoint().name]
        return float(store.header(ref.artifact_id).figures[BEST])

    return max(tried, key=reached).learning_rate


def _check(algorithm: str, config: Config) -> None:
    name, found, reward = algorithm.partition(":")
    if name not in ALGORITHM_NAMES or (found and name != "rank_grpo"):
        raise ConfigError(
            f"{algorithm!r} cannot be compared: allowed are {', '.join(ALGORITHM_NAMES)}, and "
            "rank_grpo:REWARD, as rank_grpo:log"
        )
    if found:
        from convrec.metrics.rewards import reward_named

        reward_named(reward)
    if not config.rank_grpo.eval_every:
        raise ConfigError(
            "rank_grpo.eval_every=0 looks at no validation list, and learning rates are chosen "
            "there; set it to a number of steps, as 20"
        )
