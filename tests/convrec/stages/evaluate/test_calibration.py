"""Ratings against ground truth, and Wilson's interval."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from convrec.stages.evaluate.calibration import calibration, wilson


def test_the_share_of_hits_is_counted_by_rating(world: Any) -> None:
    judged = world.store.read(world.refs["judgments"].artifact_id)
    moved = judged.with_columns(rating=pl.col("score").floor().clip(0, 1))
    world.put("judgments", "judgments", moved, stage="reflect")
    found = {r.rating: r for r in calibration(world.ctx())}
    assert found[1].value > found[0].value
    assert found[1].low <= found[1].value <= found[1].high
    assert sum(r.candidates for r in found.values()) == 30 * 12


def test_without_a_judge_there_is_none(world: Any) -> None:
    assert calibration(world.ctx("catalog", "conversations")) == []


def test_wilson_by_hand() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
