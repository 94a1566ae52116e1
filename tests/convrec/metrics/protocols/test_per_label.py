"""The `per-label` protocol against the rows published with CIKM'23, and by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from convrec.metrics.mrr import mrr
from convrec.metrics.ndcg import ndcg
from convrec.metrics.protocols.per_label import (
    MOST_EDITS,
    Names,
    as_batch,
    label_rank,
    match_per_label,
)
from convrec.metrics.recall import recall
from convrec.metrics.registry import ListBatch, ListToScore, ranking_metrics

CATALOG = [("Heat", 1995), ("Alien", 1979), ("Aliens", 1986), ("Brazil", 1985)]


def published(shared: Path, dropping: bool) -> dict[str, dict[str, float]]:
    name = f"gpt-3.5-turbo.published_filtered_{dropping}_exclude_seen_{dropping}.csv"
    with (shared / "data" / "inspired" / name).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row.pop("condition"): {key: float(value) for key, value in row.items()} for row in rows}


def extracted(shared: Path) -> list[dict[str, Any]]:
    path = shared / "data" / "inspired" / "gpt-3.5-turbo.extracted_titles.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pairs(rows: list[dict[str, Any]], condition: str, dropping: bool) -> ListBatch:
    owners, ranks = [], []
    for at, row in enumerate(rows):
        kept = [
            title["nearest"]
            for title in row["titles"]
            if not dropping
            or (title["edit_distance"] <= MOST_EDITS and title["nearest"] not in row["seen"])
        ]
        for label in row["ground_truth"]:
            if condition in ("all", "discussion" if label in row["seen"] else "recommendation"):
                owners.append(at)
                ranks.append(label_rank(kept, label))
    return as_batch(owners, ranks)


@pytest.mark.parametrize("dropping", [False, True])
@pytest.mark.parametrize("condition", ["recommendation", "discussion", "all"])
def test_the_published_rows(shared: Path, condition: str, dropping: bool) -> None:
    batch = pairs(extracted(shared), condition, dropping)
    wanted = published(shared, dropping)[condition]
    for k in (1, 5, 10, 20):
        found = {
            "recall": recall(batch.relevance, batch.truths, k),
            "ndcg": ndcg(batch.relevance, batch.truths, k),
            "mrr": mrr(batch.relevance, k),
        }
        for name, values in found.items():
            assert values.mean() == pytest.approx(wanted[f"{name}@{k}_mean"], abs=1e-9, rel=0)


def test_the_published_row_from_titles_as_they_were_written(shared: Path) -> None:
    """All the way: nearest names, dropped lines and pairs are found by us."""
    rows = extracted(shared)
    known = {title["nearest"] for row in rows for title in row["titles"]}
    known |= {name for row in rows for name in (*row["ground_truth"], *row["seen"])}
    names = Names([(name, None) for name in sorted(known)])
    asked = [
        ListToScore(
            "\n".join(title["title"] for title in row["titles"]),
            [(name, None) for name in row["seen"]],
            [(name, None) for name in row["ground_truth"]],
        )
        for row in rows
    ]
    found = ranking_metrics(match_per_label(asked, names))
    wanted = published(shared, True)["recommendation"]
    for name in ("recall@5", "ndcg@10", "mrr@20", "recall@20"):
        assert found[name].mean() == pytest.approx(wanted[f"{name}_mean"], abs=1e-9, rel=0)


def test_each_pair_counts_once_and_dropped_lines_move_the_others_up() -> None:
    asked = ListToScore(
        "1. Heat (1995)\n2. No Such Film (2000)\n3. Alienz (1979)\n4. Brazil (1985)",
        [("Heat", 1995)],
        [("Alien", 1979), ("Brazil", 1985), ("Heat", 1995)],
    )
    batch = match_per_label([asked], Names(CATALOG))
    found = ranking_metrics(batch)
    assert batch.owner is not None
    assert batch.owner.tolist() == [0, 0]
    assert found["ndcg@5"].tolist() == pytest.approx([1.0, 1 / math.log2(3)])
    assert found["mrr@5"].tolist() == pytest.approx([1.0, 0.5])
    assert found["recall@5"].tolist() == found["hit@5"].tolist() == [1.0, 1.0]


def test_a_name_two_edits_away_is_taken_and_three_are_not() -> None:
    names = Names(CATALOG)
    assert names.nearest("Brasil (1986)") == "Brazil (1985)"
    assert names.nearest("Brasill (1986)") is None
    assert names.of(("Brasill", 1986)) == "Brasill (1986)"
