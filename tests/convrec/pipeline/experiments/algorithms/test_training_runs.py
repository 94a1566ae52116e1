from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convrec.config import load
from convrec.errors import ConfigError
from convrec.pipeline.experiments.algorithms import (
    TrainingRun,
    best_learning_rate,
    plan_training_runs,
    with_steps,
)
from convrec.pipeline.experiments.algorithms.training_runs import OTHER_ORDER, equal_time_steps


class Checkpoints:
    """A store that knows the figures of checkpoints."""

    def __init__(self, **figures: dict[str, Any]) -> None:
        self._figures = figures

    def header(self, artifact_id: str) -> Any:
        return SimpleNamespace(figures=self._figures[artifact_id])


def ref(name: str) -> Any:
    return SimpleNamespace(artifact_id=name)


def test_default_learning_rates_surround_the_profiles() -> None:
    config = load("demo")
    rate = config.rank_grpo.learning_rate
    names = ["rank_grpo", "grpo", "sft:continued"]
    runs = plan_training_runs(config, names, {"grpo": [1e-4]}, seed=3)
    assert [run.learning_rate for run in runs["rank_grpo"]] == [rate / 2, rate, rate * 2]
    assert runs["grpo"] == [TrainingRun("grpo", 1e-4, 3)]
    peak = config.sft.learning_rate
    rates = [run.learning_rate for run in runs["sft:continued"]]
    assert rates == pytest.approx([peak / 10, peak * 0.3, peak])


def test_a_run_with_the_profiles_settings_keeps_its_config() -> None:
    config = load("demo")
    run = TrainingRun(config.rank_grpo.algorithm, config.rank_grpo.learning_rate, config.seed)
    assert run.adapt(config) == config


def test_a_reward_is_part_of_the_algorithm() -> None:
    run = TrainingRun("rank_grpo:exp:2.0", 4e-4, 7)
    settings = run.adapt(load("demo")).rank_grpo
    assert (settings.algorithm, settings.reward) == ("rank_grpo", "exp:2.0")
    assert run.name == "rank_grpo_exp_2_0_lr4_0e-04_seed7"


def test_names_of_different_variants_differ() -> None:
    variants = ["early=-1,exact=0", "early=-.1,exact=0", "early=-1", "g4", "log"]
    assert len({TrainingRun(f"rank_grpo:{each}", 4e-4, 7).name for each in variants}) == 5


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("ppo", "unknown algorithm 'ppo'"),
        ("grpo:log", "unknown variant 'grpo:log'"),
        ("rank_grpo:linear", "exp:Γ with Γ > 1"),
        ("sft", "write sft:continued or sft:steps=N"),
    ],
)
def test_an_unknown_algorithm_is_an_error(algorithm: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_training_runs(load("demo"), ["rank_grpo", algorithm], {}, seed=1)


def test_learning_rates_need_validation() -> None:
    config = load("demo", {"rank_grpo.eval_every": 0})
    with pytest.raises(ConfigError, match="eval_every=0 disables validation"):
        plan_training_runs(config, ["grpo"], {}, seed=1)


def test_continued_sft_needs_a_training_to_compare_with() -> None:
    with pytest.raises(ConfigError, match="control of reinforcement learning"):
        plan_training_runs(load("demo"), ["sft:continued"], {}, seed=1)


def test_without_sft_a_run_starts_from_the_base_model() -> None:
    nodes = {
        name: TrainingRun(name, 4e-4, 7).checkpoint_node()
        for name in ("rank_grpo", "grpo:no_sft", "sft:steps=5")
    }
    starts = {name: node.reads["checkpoint"] for name, node in nodes.items()}
    assert starts == {
        "rank_grpo": "checkpoint_sft",
        "grpo:no_sft": "checkpoint_untrained",
        "sft:steps=5": "checkpoint_sft",
    }
    assert nodes["sft:steps=5"].stage == "sft"
    assert "demonstrations" in nodes["sft:steps=5"].reads


def test_continued_sft_has_a_constant_learning_rate() -> None:
    config = load("demo")
    run = TrainingRun("sft:continued", 1e-3, 8, sft_steps=130)
    adapted = run.adapt(config)
    sft = adapted.sft
    assert (sft.steps, sft.learning_rate, sft.schedule) == (130, 1e-3, "constant")
    assert (sft.warmup_ratio, sft.eval_every, adapted.seed) == (0, 26, 8 ^ OTHER_ORDER)
    assert adapted.rank_grpo == config.rank_grpo


def test_continued_sft_takes_as_long_as_the_training() -> None:
    figures = {"tokens": 40_000, "steps": 400, "tokens_per_second": 500.0}  # 5 steps a second
    assert equal_time_steps(10.0, figures) == 50
    assert equal_time_steps(90.3, figures) == 460  # 451.5, rounded up to two digits
    assert equal_time_steps(0.01, figures) == 1
    parts = {"seconds_sampling": 60.0, "seconds_scoring": 0.3, "seconds_loss": 30.0}
    store: Any = Checkpoints(rl={**parts, "seconds_validation": 500.0}, sft=figures)
    runs = [TrainingRun("sft:continued", 1e-3, 7), TrainingRun("sft:steps=3", 1e-3, 7, 3)]
    found = with_steps(runs, ref("rl"), ref("sft"), store)
    assert [run.sft_steps for run in found] == [460, 3]


@pytest.mark.parametrize(
    ("algorithm", "figure", "values", "best"),
    [
        ("grpo", "validation_ndcg@20_best", (0.2, 0.4, 0.4), 2e-4),
        ("sft:continued", "validation_loss", (0.8, 0.7, 0.9), 2e-4),
    ],
)
def test_the_best_learning_rate_is_chosen_on_validation(
    algorithm: str, figure: str, values: tuple[float, ...], best: float, tmp_path: Path
) -> None:
    runs = [TrainingRun(algorithm, rate, 7) for rate in (1e-4, 2e-4, 4e-4)]
    names = [run.checkpoint_node().name for run in runs]
    store: Any = Checkpoints(
        **{name: {figure: value} for name, value in zip(names, values, strict=True)}
    )
    refs = {name: ref(name) for name in names}
    assert best_learning_rate(runs, refs, store) == best
