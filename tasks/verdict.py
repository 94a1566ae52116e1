"""What came out of a run, in sentences: how well its model ranks, or what it made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convrec.stages.evaluate import metrics_json
from tasks.run import Run

MODELS = {
    "checkpoint": "The checkpoint",
    "rank_grpo": "The model after Rank-GRPO",
    "sft": "The model after SFT",
}
"""Systems that a run is about, the first of them that was measured."""

OTHERS = {
    "sft": "SFT alone",
    "base": "the untrained model",
    "teacher": "the teacher",
    "knn": "nearest neighbours (knn)",
    "popularity": "the most popular items",
}
"""Systems that it is compared with."""


def verdict(run: Run) -> list[str]:
    """The sentences; none if the run made nothing that is the end of a stage."""
    if "metrics" in run.refs:
        return _evaluation(run)
    for name in ("checkpoint_rank_grpo", "checkpoint_sft"):
        if name in run.refs:
            return ["**A model is trained.** It is not measured yet: run `evaluate`."]
    if "demonstrations" in run.refs:
        return [f"**{run.refs['demonstrations'].rows:,} demonstrations** are ready to train on."]
    return []


def _evaluation(run: Run) -> list[str]:
    name = run.refs["metrics"].artifact_id
    figures = metrics_json(run.store.read(name), run.store.header(name).figures)
    values: Mapping[str, Mapping[str, float]] = figures["metrics"]
    system = next((name for name in MODELS if name in values), "")
    if not system:
        return ["**The lists are measured**; no trained model is among them."]
    pairs = {
        (one["a"], one["b"]): one for one in figures["comparisons"] if one["metric"] == "ndcg@20"
    }
    found = [_compared(OTHERS[b], pairs[system, b]) for b in OTHERS if (system, b) in pairs]
    score = f"**{MODELS[system]} has an NDCG@20 of {values[system]['ndcg@20']:.3f}** on test"
    return [f"{score}: {'; '.join(found)}." if found else f"{score}."]


def _compared(other: str, pair: Mapping[str, Any]) -> str:
    """`better than X by 0.040 [0.021, 0.060]`, or that no difference is seen."""
    low, high, diff = pair["low"], pair["high"], pair["diff"]
    estimate = f"{_signed(diff)} [{_signed(low)}, {_signed(high)}]"
    if low <= 0 <= high:
        return f"no clear difference from {other} ({estimate})"
    return f"{'better' if diff > 0 else 'worse'} than {other} ({estimate})"


def _signed(value: float) -> str:
    """In enough digits to see on which side of 0 it is."""
    return f"{value:+.3f}" if round(value, 3) or not value else f"{value:+.4f}"
