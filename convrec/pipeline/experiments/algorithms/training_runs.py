"""The training runs of a comparison: an algorithm, a learning rate and a seed each.

All start from the profile's SFT checkpoint and see the same number of lists; a variant
(`variants`) changes what it names. Nothing else differs, so a run with the profile's settings is
the profile's checkpoint, and cached.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from convrec.artifacts import ArtifactRef, Store
from convrec.config import Config
from convrec.errors import ConfigError
from convrec.pipeline.experiments.algorithms.variants import (
    CONTINUED,
    SFT,
    adapt_rank_grpo,
    parse_variant,
)
from convrec.pipeline.graph import NODES, Node
from convrec.stages.evaluate import GENERATIONS
from convrec.stages.rank_grpo.step import RANK_GRPO
from convrec.stages.sft.step import SFT as SFT_STEP
from convrec.stages.sft.step import UNTRAINED

BEST_METRIC = re.compile(r"validation_ndcg@\d+_best")
"""The checkpoint's figure that learning rates are compared by: `ndcg@20`, of short lists `@N`."""

SFT_RATES = (0.1, 0.3, 1.0)
"""Learning rates of continued SFT to try, as factors of the profile's."""

OTHER_ORDER = 1 << 16
"""Changes the seed of continued SFT: with that of the checkpoint, it would begin with the rows that
the checkpoint has learned from already."""

VALIDATIONS = 5
"""Validation passes of continued SFT."""

UNTRAINED_NODE = Node(
    "checkpoint_untrained",
    UNTRAINED,
    {"conversations": "conversations", "demonstrations": "demonstrations"},
)
"""The base model as a checkpoint, from which `no_sft` starts."""


@dataclass(frozen=True)
class TrainingRun:
    """One training run; `algorithm` is a name that `parse_variant` reads.

    `sft_steps` are the steps of continued SFT.
    """

    algorithm: str
    learning_rate: float
    seed: int
    sft_steps: int = 0

    @property
    def name(self) -> str:
        """A name valid for nodes, tasks and Prefect artifacts."""
        algorithm = re.sub("[:=,.]", "_", self.algorithm)
        steps = f"_steps{self.sft_steps}" if self.sft_steps else ""
        rate = f"{self.learning_rate:.1e}".replace(".", "_")
        return f"{algorithm}{steps}_lr{rate}_seed{self.seed}"

    @property
    def is_sft(self) -> bool:
        """Whether the run continues SFT."""
        return parse_variant(self.algorithm).algorithm == SFT

    def adapt(self, config: Config) -> Config:
        """Put this run's settings into a configuration; raises ConfigError if they are invalid."""
        if self.is_sft:
            seed = self.seed ^ OTHER_ORDER
            return config.model_copy(update={"sft": self._sft(config), "seed": seed})
        settings = adapt_rank_grpo(config, self.algorithm, self.learning_rate)
        return config.model_copy(update={"rank_grpo": settings, "seed": self.seed})

    def _sft(self, config: Config) -> Any:
        changes = {
            "steps": self.sft_steps,
            "learning_rate": self.learning_rate,
            "schedule": "constant",
            "warmup_ratio": 0.0,
            "drop_step": 0,
            "eval_every": math.ceil(self.sft_steps / VALIDATIONS),
        }
        return config.sft.model_copy(update=changes)

    @property
    def start(self) -> Node:
        """The node of the checkpoint that the run starts from."""
        from_base = parse_variant(self.algorithm).from_base
        return UNTRAINED_NODE if from_base else NODES["checkpoint_sft"]

    def checkpoint_node(self) -> Node:
        """The node of the run's checkpoint."""
        step, stage = (SFT_STEP, "sft") if self.is_sft else (RANK_GRPO, "rank_grpo")
        reads = {**NODES[f"checkpoint_{stage}"].reads, "checkpoint": self.start.name}
        return Node(f"checkpoint_{self.name}", step, reads, adapt=self.adapt)

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

    Those of continued SFT are .1, .3 and 1 × `sft.learning_rate`; the runs have no steps yet if
    these follow from another run (`with_steps`). Raises ConfigError for an unknown algorithm or
    variant, and if continued SFT has no run to take as long as.
    """
    if not config.rank_grpo.eval_every:
        raise ConfigError(
            "rank_grpo.eval_every=0 disables validation, on which learning rates are chosen; set "
            "it to a number of steps, such as 20"
        )
    runs: dict[str, list[TrainingRun]] = {}
    for algorithm in algorithms:
        variant = parse_variant(algorithm)
        is_sft = variant.algorithm == SFT
        rate = (config.sft if is_sft else config.rank_grpo).learning_rate
        factors = SFT_RATES if is_sft else (0.5, 1.0, 2.0)
        rates = learning_rates.get(algorithm) or [rate * factor for factor in factors]
        runs[algorithm] = [TrainingRun(algorithm, each, seed, variant.steps) for each in rates]
        for run in runs[algorithm]:
            run.adapt(config)  # checks its values
    if all(each[0].is_sft for each in runs.values()):
        raise ConfigError(
            f"{SFT}:{CONTINUED} is a control of reinforcement learning; compare it with an "
            "algorithm such as rank_grpo"
        )
    return runs


def with_steps(
    runs: Iterable[TrainingRun], trained: ArtifactRef, sft: ArtifactRef, store: Store
) -> list[TrainingRun]:
    """The runs of continued SFT with the steps that take as long as a training took.

    `trained` is that training's checkpoint and `sft` the one that both start from. Sampling,
    scoring and loss count; validation does not.
    """
    figures = store.header(trained.artifact_id).figures
    seconds = sum(float(figures[f"seconds_{part}"]) for part in ("sampling", "scoring", "loss"))
    steps = equal_time_steps(seconds, store.header(sft.artifact_id).figures)
    return [run if run.sft_steps else replace(run, sft_steps=steps) for run in runs]


def equal_time_steps(seconds: float, figures: Mapping[str, Any]) -> int:
    """The steps of SFT in so many seconds, at the speed that a checkpoint's figures say.

    Rounded up to two digits, so that the same comparison on the same machine, measured again,
    mostly has the same steps, and SFT no less time.
    """
    tokens_per_step = float(figures["tokens"]) / float(figures["steps"])
    steps = seconds * float(figures["tokens_per_second"]) / tokens_per_step
    unit = int(10 ** max(0, math.floor(math.log10(max(steps, 1))) - 1))
    return max(1, math.ceil(steps / unit) * unit)


def best_learning_rate(
    runs: Sequence[TrainingRun], refs: Mapping[str, ArtifactRef], store: Store
) -> float:
    """The learning rate that is best on validation; the first of equal ones.

    The measure is NDCG, for continued SFT the loss. Without validation, SFT keeps the first rate.
    """

    def score(run: TrainingRun) -> float:
        figures = store.header(refs[run.checkpoint_node().name].artifact_id).figures
        if run.is_sft:
            return -float(figures.get("validation_loss", 0))
        return float(next(figures[name] for name in figures if BEST_METRIC.fullmatch(name)))

    return max(runs, key=score).learning_rate
