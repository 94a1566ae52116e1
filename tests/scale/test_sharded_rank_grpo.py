"""Rank-GRPO under `fsdp` and `zero3`, with lists from a stand-in for vLLM, trains like one process.

The stand-in's engine has only the weights that TRL gathers and sends, so its lists show whether
they were the trained ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from convrec.models.load import load_checkpoint
from convrec.training.checkpoint import step_of
from convrec.utils.progress import no_progress
from tests.support.film_student import checkpoint
from tests.support.sharded_rank_grpo import FSDP, fit_one, fit_sharded, run_sharded, vllm_job
from tests.support.sharded_training import ZERO3
from tests.support.timing import Timed
from tests.support.training_jobs import run_until_killed
from tests.support.trainings import logged_metrics, weights

__all__ = ["checkpoint"]
pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.mark.parametrize("parallel", ["fsdp", ZERO3])
def test_two_processes_with_sharded_weights_train_like_one(
    checkpoint: Path,
    tmp_path: Path,
    parallel: str,
    timed: Timed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    torch.set_num_threads(1)
    with timed("one of rank_grpo"):
        fit_one(vllm_job(checkpoint, tmp_path / "one", None, launcher="process"), no_progress)
    launch = {**FSDP, "parallel": parallel}
    job = vllm_job(checkpoint, tmp_path / "two", tmp_path / "2", **launch)
    with timed(f"two of rank_grpo by {parallel}"):
        figures, _ = run_sharded(fit_sharded, job, no_progress)
    assert figures["processes"] == 2
    assert figures["sharded"] == "true"
    assert figures["syncs"] > figures["steps"]
    one, two, before = (weights(f) for f in (tmp_path / "one", tmp_path / "two", checkpoint))
    assert (one - before).abs().max() > 1e-3
    assert (one - two).abs().max() < 1e-3
    lines = zip(logged_metrics(tmp_path / "one"), logged_metrics(tmp_path / "two"), strict=True)
    for expected, line in lines:
        assert line == pytest.approx(expected, abs=2e-4, nan_ok=True), expected["step"]
    config = json.loads((tmp_path / "two" / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert load_checkpoint(tmp_path / "two").tokenizer.eos_token


def test_a_killed_launch_resumes(checkpoint: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "working", tmp_path / "out"
    run_until_killed("tests.support.sharded_rank_grpo", checkpoint, out, folder, 5)
    assert not out.exists()
    saved = step_of(max(folder.glob("checkpoint-*"), key=step_of))
    assert saved >= 4

    steps: list[int] = []
    job = vllm_job(checkpoint, out, folder, **FSDP)
    figures, _ = run_sharded(fit_sharded, job, lambda done, total, text: steps.append(done))
    assert steps[0] == saved + 1
    assert figures["resumed_from_step"] == saved
    undisturbed = tmp_path / "undisturbed"
    run_sharded(fit_sharded, vllm_job(checkpoint, undisturbed, tmp_path / "3", **FSDP), no_progress)
    assert str(logged_metrics(out)) == str(logged_metrics(undisturbed))  # nan is not equal to nan
    assert torch.equal(weights(out), weights(undisturbed))
    assert (weights(out) - weights(checkpoint)).abs().max() > 1e-3
