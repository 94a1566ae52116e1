from __future__ import annotations

import pytest

from convrec.config import Config, load
from convrec.errors import ConfigError
from convrec.operations.sizing.gpus import parse_machine
from convrec.operations.sizing.plan import plan_stage
from convrec.training.memory.model_shape import model_shape
from convrec.training.step_count import check_drop_step, sft_steps


@pytest.mark.parametrize(
    ("rows", "settings", "steps"),
    [
        (9, {"epochs": 3}, 6),  # each epoch ends with a step of one row
        (9, {"epochs": 0.5}, 1),
        (16, {"epochs": 1.5}, 3),
        (9, {"epochs": 3, "steps": 4}, 4),
    ],
)
def test_steps_of_sft(rows: int, settings: dict[str, float], steps: int) -> None:
    config = Config.model_validate({"sft": {"batch_size": 8, **settings}})
    assert sft_steps(rows, config.sft) == steps


def test_a_plan_has_the_steps_of_the_training() -> None:
    config = load("reddit-v2", {"sft.batch_size": 8, "sft.epochs": 3})
    shape, machine = model_shape("Qwen2.5-0.5B-Instruct"), parse_machine("H100")
    assert plan_stage("sft", shape, machine, config, 9, 1).steps == 6


def test_a_drop_beyond_the_last_step_is_refused() -> None:
    sft = Config.model_validate({"sft": {"schedule": "drop", "drop_step": 7}}).sft
    check_drop_step(sft, 7, "sft")
    with pytest.raises(ConfigError, match=r"^sft\.drop_step=7 is beyond the last step, 6, so"):
        check_drop_step(sft, 6, "sft")
