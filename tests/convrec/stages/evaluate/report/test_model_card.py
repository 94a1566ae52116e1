"""The model card of a checkpoint."""

from __future__ import annotations

from convrec.stages.evaluate.report.model_card import model_card, write_model_card
from tests.support.evaluated_run import EvaluatedRun


def test_card_has_metrics_after_evaluation(evaluated_run: EvaluatedRun) -> None:
    name = evaluated_run.put_checkpoint_files()
    before = model_card(evaluated_run.store, name)
    assert "Not measured yet" in before
    assert "1,234 parameters" in before
    assert 'base_model: "org/base-model"' in before
    assert "unconstrained" in before.lower()
    evaluated_run.put_metrics()
    path = write_model_card(evaluated_run.store, name)
    card = path.read_text(encoding="utf-8")
    assert path == evaluated_run.store.folder(name) / "README.md"
    assert "| rank_grpo (this) |" in card
    assert "60 test samples" in card
