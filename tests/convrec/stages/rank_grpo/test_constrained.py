"""Training on lists that can only be right, with log-probabilities under the sampler's mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from convrec.stages.rank_grpo import train as rl
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import format_line
from convrec.training.metrics_log import MetricsLog
from tests.convrec.stages.rank_grpo.world import FILMS, SAMPLES, config

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

MORE = [*FILMS, ("4", "Heathers", 1989), ("5", "Ali", 2001)]
LINES = [format_line(title, year) for _, title, year in MORE]


@pytest.mark.parametrize("algorithm", ["rank_grpo", "grpo", "gspo"])
def test_every_list_is_in_the_catalog_and_full(
    checkpoint: Path, tmp_path: Path, algorithm: str
) -> None:
    torch.set_num_threads(1)
    settings = config(
        algorithm=algorithm, sampler="constrained", iterations=2, steps=4, beta=0.1, eval_every=2
    )
    _, curves = train_rank_grpo(
        checkpoint,
        SAMPLES,
        TitleIndex(MORE),
        settings,
        tmp_path / "out",
        5,
        lambda *_: None,
        validation=SAMPLES,
        lines=LINES,
    )
    for name, value in (("in_catalog", 1), ("exact_n", 1), ("repeats", 0), ("seen", 0)):
        assert set(curves.filter(pl.col("name") == name)["value"]) == {value}
    kl = curves.filter(pl.col("name") == "kl")["value"].to_list()
    assert kl[0] == pytest.approx(0, abs=1e-6)


def test_the_trainer_takes_the_probabilities_that_the_sampler_had(
    checkpoint: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    settings = config(sampler="constrained", iterations=2, temperature=0.7)
    student = rl.load_checkpoint(checkpoint)
    task = rl.make_task(student, SAMPLES, [], LINES, TitleIndex(MORE), settings, 5)
    trainer = rl.make_trainer(task, tmp_path, MetricsLog(tmp_path), lambda *_: None)
    trainer.model.train()
    rows: list[dict[str, Any]] = [row for row in task.data for _ in range(2)]
    batch = trainer._generate_and_score_completions(rows[:4])
    for row, written in enumerate(trainer.rollout.written):
        size = len(written.ids)
        assert batch["completion_ids"][row, :size].tolist() == written.ids
        chosen = torch.tensor(written.chosen)
        own = batch["old_per_token_logps"][row, :size][chosen]
        assert torch.allclose(own, torch.tensor(written.logps)[chosen], atol=1e-4)
        assert (batch["rank_ids"][row, :size] >= 0).tolist() == list(written.chosen)
    assert (batch["old_per_token_logps"] < -0.1).any()
    batch["old_per_token_logps"] = batch["old_per_token_logps"] + 1e-3
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    assert torch.isfinite(loss)
