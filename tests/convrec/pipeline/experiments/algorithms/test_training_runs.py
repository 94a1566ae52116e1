from __future__ import annotations

import pytest

from convrec.config import load
from convrec.errors import ConfigError
from convrec.pipeline.experiments.algorithms import TrainingRun, plan_training_runs


def test_default_learning_rates_surround_the_profiles() -> None:
    config = load("demo")
    rate = config.rank_grpo.learning_rate
    runs = plan_training_runs(config, ["rank_grpo", "grpo"], {"grpo": [1e-4]}, seed=3)
    assert [run.learning_rate for run in runs["rank_grpo"]] == [rate / 2, rate, rate * 2]
    assert runs["grpo"] == [TrainingRun("grpo", 1e-4, 3)]


def test_a_run_with_the_profiles_settings_keeps_its_config() -> None:
    config = load("demo")
    run = TrainingRun(config.rank_grpo.algorithm, config.rank_grpo.learning_rate, config.seed)
    assert run.adapt(config) == config


def test_a_reward_is_part_of_the_algorithm() -> None:
    run = TrainingRun("rank_grpo:exp:2.0", 4e-4, 7)
    settings = run.adapt(load("demo")).rank_grpo
    assert (settings.algorithm, settings.reward) == ("rank_grpo", "exp:2.0")
    assert run.name == "rank_grpo_exp_2_0_lr4_0e-04_seed7"


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [("ppo", "unknown algorithm 'ppo'"), ("grpo:log", "unknown algorithm 'grpo:log'")],
)
def test_an_unknown_algorithm_is_an_error(algorithm: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_training_runs(load("demo"), [algorithm], {}, seed=1)


def test_learning_rates_need_validation() -> None:
    config = load("demo", {"rank_grpo.eval_every": 0})
    with pytest.raises(ConfigError, match="eval_every=0 disables validation"):
        plan_training_runs(config, ["grpo"], {}, seed=1)
