"""The `per-label` protocol: the results published with CIKM'23, and worked examples."""

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
    MAX_EDITS,
    CatalogNames,
    batch_of_pairs,
    match_per_label,
    target_rank,
)
from convrec.metrics.recall import recall
from convrec.metrics.registry import ranking_metrics
from convrec.metrics.scored_lists import ListBatch, ListToScore

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
            or (title["edit_distance"] <= MAX_EDITS and title["nearest"] not in row["seen"])
        ]
        for label in row["ground_truth"]:
            if condition in ("all", "discussion" if label in row["seen"] else "recommendation"):
                owners.append(at)
                ranks.append(target_rank(kept, label))
    return batch_of_pairs(owners, ranks)


@pytest.mark.parametrize("dropping", [False, True])
@pytest.mark.parametrize("condition", ["recommendation", "discussion", "all"])
def test_published_results(shared: Path, condition: str, dropping: bool) -> None:
    batch = pairs(extracted(shared), condition, dropping)
    expected = published(shared, dropping)[condition]
    for k in (1, 5, 10, 20):
        found = {
            "recall": recall(batch.relevance, batch.truths, k),
            "ndcg": ndcg(batch.relevance, batch.truths, k),
            "mrr": mrr(batch.relevance, k),
        }
        for name, values in found.items():
            assert values.mean() == pytest.approx(expected[f"{name}@{k}_mean"], abs=1e-9, rel=0)


def test_published_result_from_raw_titles(shared: Path) -> None:
    """Also finds the nearest names, the dropped lines and the pairs."""
    rows = extracted(shared)
    all_names = {title["nearest"] for row in rows for title in row["titles"]}
    all_names |= {name for row in rows for name in (*row["ground_truth"], *row["seen"])}
    names = CatalogNames([(name, None) for name in sorted(all_names)])
    lists = [
        ListToScore(
            "\n".join(title["title"] for title in row["titles"]),
            [(name, None) for name in row["seen"]],
            [(name, None) for name in row["ground_truth"]],
        )
        for row in rows
    ]
    found = ranking_metrics(match_per_label(lists, names))
    expected = published(shared, True)["recommendation"]
    for name in ("recall@5", "ndcg@10", "mrr@20", "recall@20"):
        assert found[name].mean() == pytest.approx(expected[f"{name}_mean"], abs=1e-9, rel=0)


def test_pairs_count_once_and_dropped_lines_move_up() -> None:
    one = ListToScore(
        "1. Heat (1995)\n2. No Such Film (2000)\n3. Alienz (1979)\n4. Brazil (1985)",
        [("Heat", 1995)],
        [("Alien", 1979), ("Brazil", 1985), ("Heat", 1995)],
    )
    batch = match_per_label([one], CatalogNames(CATALOG))
    found = ranking_metrics(batch)
    assert batch.owner is not None
    assert batch.owner.tolist() == [0, 0]
    assert found["ndcg@5"].tolist() == pytest.approx([1.0, 1 / math.log2(3)])
    assert found["mrr@5"].tolist() == pytest.approx([1.0, 0.5])
    assert found["recall@5"].tolist() == found["hit@5"].tolist() == [1.0, 1.0]


def test_nearest_name_is_at_most_two_edits_away() -> None:
    names = CatalogNames(CATALOG)
    assert names.nearest("Brasil (1986)") == "Brazil (1985)"
    assert names.nearest("Brasill (1986)") is None
    assert names.name_of(("Brasill", 1986)) == "Brasill (1986)"


def test_pairs_outside_the_catalog_stay() -> None:
    names = CatalogNames([("Heat", 1995)])
    lists = [ListToScore("Heat (1995)", [], [("Heat", 1995), ("No Such Film", 2000)])]
    assert match_per_label(lists, names).relevance[:, 0].tolist() == [1, 0]
