"""In which order a comparison trains, without training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from convrec.config import load
from tasks import compare as tasks

FIGURES = {
    "seconds_sampling": 30.0,
    "seconds_scoring": 1.0,
    "seconds_loss": 29.0,
    "validation_ndcg@20_best": 0.3,
    "validation_loss": 1.0,
    "steps": 100,
    "tokens": 10_000,
    "tokens_per_second": 500.0,
}


class DryRun:
    """A run that records what it should make."""

    def __init__(self) -> None:
        self.config = load("demo")
        self.made: list[Any] = []
        self.refs: dict[str, Any] = {"checkpoint_sft": self._ref("checkpoint_sft")}
        self.store = SimpleNamespace(
            header=lambda name: SimpleNamespace(figures=FIGURES), read=lambda name: pl.DataFrame()
        )

    def make(self, node: Any, task: Any) -> None:
        assert set(node.inputs(self.config).values()) - self.refs.keys() <= DATA
        self.made.append(node)
        self.refs[node.name] = self._ref(node.name)

    def _ref(self, name: str) -> Any:
        return SimpleNamespace(artifact_id=name)


DATA = {"catalog", "conversations", "demonstrations", "generations_sft"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> DryRun:
    for name in ("comparison_markdown", "comparison_json", "convergence_svg", "validation_curves"):
        monkeypatch.setattr(tasks, name, lambda *_: [])
    monkeypatch.setattr(tasks, "show_comparison", lambda *_: None)
    return DryRun()


def test_continued_sft_is_trained_last(run: DryRun) -> None:
    names = ["rank_grpo", "sft:continued", "grpo:no_sft"]
    rates = {name: [1e-3] for name in names}
    found = tasks.compare(run, names, [7, 8], rates)  # type: ignore[arg-type]
    checkpoints = [node.name for node in run.made if node.name.startswith("checkpoint")]
    assert checkpoints == [
        "checkpoint_rank_grpo_lr1_0e-03_seed7",
        "checkpoint_rank_grpo_lr1_0e-03_seed8",
        "checkpoint_untrained",
        "checkpoint_grpo_no_sft_lr1_0e-03_seed7",
        "checkpoint_grpo_no_sft_lr1_0e-03_seed8",
        "checkpoint_sft_continued_steps300_lr1_0e-03_seed7",
        "checkpoint_sft_continued_steps300_lr1_0e-03_seed8",
    ]
    assert list(found["trained"]) == list(found["learning_rates"]) == names
    (continued,) = (node for node in run.made if node.name == checkpoints[-1])
    assert continued.adapt(run.config).sft.steps == 300  # 60 s at 5 steps a second
    comparison = run.made[-1]
    assert comparison.name == "comparison"
    roles = [role for role in comparison.reads if role.startswith("generations of")]
    assert roles[0] == "generations of rank_grpo, seed 7"
    assert len(roles) == 6


def test_all_learning_rates_are_tried_with_the_first_seed(run: DryRun) -> None:
    tasks.compare(run, ["grpo"], [7, 8], {"grpo": [1e-3, 2e-3]})  # type: ignore[arg-type]
    checkpoints = [node.name for node in run.made if node.name.startswith("checkpoint")]
    assert checkpoints == [
        "checkpoint_grpo_lr1_0e-03_seed7",
        "checkpoint_grpo_lr2_0e-03_seed7",
        "checkpoint_grpo_lr1_0e-03_seed8",
    ]
