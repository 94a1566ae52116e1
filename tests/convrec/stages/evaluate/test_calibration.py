"""Hit rates by rating, and the Wilson interval."""

from __future__ import annotations

import polars as pl
import pytest

from convrec.stages.evaluate.calibration import rating_hit_rates, wilson_interval
from tests.support.evaluated_run import EvaluatedRun


def test_hit_rate_by_rating(evaluated_run: EvaluatedRun) -> None:
    judgments = evaluated_run.store.read(evaluated_run.refs["judgments"].artifact_id)
    rated = judgments.with_columns(rating=pl.col("score").floor().clip(0, 1))
    evaluated_run.put("judgments", "judgments", rated, stage="reflect")
    found = {r.rating: r for r in rating_hit_rates(evaluated_run.ctx())}
    assert found[1].value > found[0].value
    assert found[1].low <= found[1].value <= found[1].high
    assert sum(r.candidates for r in found.values()) == 30 * 12


def test_without_judgments(evaluated_run: EvaluatedRun) -> None:
    assert rating_hit_rates(evaluated_run.ctx("catalog", "conversations")) == []


def test_wilson_interval() -> None:
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
