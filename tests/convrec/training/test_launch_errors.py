from __future__ import annotations

import signal
from pathlib import Path

import pytest

from convrec.config import Config, StageName
from convrec.training.job import TrainingJob
from convrec.training.launch_errors import launch_error


@pytest.mark.parametrize(
    ("stage", "advice"),
    [
        ("sft", r"sft\.micro_batch"),
        ("rank_grpo", r"rank_grpo\.micro_batch.*prompts_per_step=8"),
        ("evaluate", r"evaluate\.batch_size=64"),
    ],
)
def test_a_killed_process_names_what_takes_less_memory(
    tmp_path: Path, stage: StageName, advice: str
) -> None:
    log = tmp_path / "launch.log"
    log.write_text("", encoding="utf-8")
    job = TrainingJob(stage, Config(), {}, tmp_path)
    error = launch_error(-signal.SIGKILL, tmp_path, log, job)
    with pytest.raises(type(error), match=f"killed with SIGKILL.*{advice}"):
        raise error
