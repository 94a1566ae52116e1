"""A new registry entry appears in the metrics artifact, the JSON, the report and `score`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convrec.metrics.item_mean import mean_over_items
from convrec.metrics.registry import (
    CATALOG_METRICS,
    ITEM_METRICS,
    RANKING_METRICS,
    CatalogMetric,
    ItemMetric,
    RankingMetric,
)
from convrec.stages.evaluate import METRICS, REPORT, metrics_json
from convrec.stages.evaluate.report.markdown import MAX_COLUMNS, evaluation_markdown
from convrec.stages.evaluate.score_file import score_file
from tests.support.evaluated_run import EvaluatedRun

PRECISION = RankingMetric(
    lambda batch, k: batch.relevance[:, :k].sum(axis=1) / k, label="Precision", report_cutoffs=(5,)
)
MENTIONS = ItemMetric(mean_over_items, label="mean mentions", decimals=1)
CONCENTRATION = CatalogMetric(
    lambda counts, head: counts.max(axis=-1) / counts.sum(axis=-1), label="concentration"
)


@pytest.fixture(autouse=True)
def added_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RANKING_METRICS, "precision", PRECISION)
    monkeypatch.setitem(ITEM_METRICS, "mentions", MENTIONS)
    monkeypatch.setitem(CATALOG_METRICS, "concentration", CONCENTRATION)


def test_added_metrics_are_in_artifact_json_and_report(evaluated_run: EvaluatedRun) -> None:
    rows = METRICS.build(evaluated_run.ctx()).rows
    values = metrics_json(rows)["metrics"]["sft"]
    assert 0 < values["precision@20"] < values["precision@5"] < 1
    assert values["mentions"] > 0
    assert 1 / 60 <= values["concentration"] < 1
    evaluated_run.put("metrics", "metrics", rows, stage="evaluate")
    ctx = evaluated_run.ctx(scratch=True)
    REPORT.build(ctx)
    page = (ctx.scratch / "report.html").read_text(encoding="utf-8")
    for heading in ("Precision@5", "mean mentions", "concentration"):
        assert f'<th scope="col">{heading}</th>' in page
    assert "Precision@20" not in page
    tables = [line for line in evaluation_markdown(rows).splitlines() if line.startswith("| ")]
    assert any("precision@5" in line for line in tables)
    assert max(line.count("|") for line in tables) == MAX_COLUMNS + 2


def test_added_metric_is_in_score(tmp_path: Path) -> None:
    row = {
        "completion": "Alien (1979)\nHeat (1995)",
        "seen_titles": [],
        "groundtruth_with_release_year": [["Heat", 1995]],
    }
    lists, catalog, per_list = (tmp_path / name for name in ("l.jsonl", "c.csv", "out.jsonl"))
    lists.write_text(json.dumps(row), encoding="utf-8")
    catalog.write_text("title,year\nAlien,1979\nHeat,1995\n", encoding="utf-8")
    result = score_file(lists, catalog, per_list=per_list)
    assert result.metrics["precision@5"].value == pytest.approx(1 / 5)
    assert json.loads(per_list.read_text(encoding="utf-8"))["precision@10"] == pytest.approx(1 / 10)
    assert np.isfinite(result.metrics["precision@20"].low)
