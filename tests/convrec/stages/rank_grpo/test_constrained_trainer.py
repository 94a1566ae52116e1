"""Training on constrained lists, with log-probabilities under the sampler's mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from convrec.models.load import load_checkpoint
from convrec.stages.rank_grpo.inputs import prepare_inputs
from convrec.stages.rank_grpo.make_trainer import make_trainer
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import format_line
from convrec.training.metrics_log import MetricsLog
from tests.support.trainings import FILMS, SAMPLES, config

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

MORE = [*FILMS, ("4", "Heathers", 1989), ("5", "Ali", 2001)]
LINES = [format_line(title, year) for _, title, year in MORE]


@pytest.mark.parametrize("algorithm", ["rank_grpo", "grpo", "gspo"])
def test_every_list_is_valid_and_full(checkpoint: Path, tmp_path: Path, algorithm: str) -> None:
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


def test_the_trainer_computes_the_sampler_s_logps(checkpoint: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    settings = config(sampler="constrained", iterations=2, temperature=0.7)
    student = load_checkpoint(checkpoint)
    inputs = prepare_inputs(student, SAMPLES, [], LINES, TitleIndex(MORE), settings, 5)
    trainer = make_trainer(inputs, tmp_path, MetricsLog(tmp_path), lambda *_: None)
    trainer.model.train()
    rows: list[dict[str, Any]] = [row for row in inputs.data for _ in range(2)]
    batch = trainer._generate_and_score_completions(rows[:4])
    for row, generated in enumerate(trainer.rollout.lists):
        size = len(generated.ids)
        assert batch["completion_ids"][row, :size].tolist() == generated.ids
        chosen = torch.tensor(generated.chosen)
        logps = batch["old_per_token_logps"][row, :size][chosen]
        assert torch.allclose(logps, torch.tensor(generated.logps)[chosen], atol=1e-4)
        assert (batch["rank_ids"][row, :size] >= 0).tolist() == list(generated.chosen)
    assert (batch["old_per_token_logps"] < -0.1).any()
    batch["old_per_token_logps"] = batch["old_per_token_logps"] + 1e-3
    trainer.current_gradient_accumulation_steps = 1
    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    assert torch.isfinite(loss)
