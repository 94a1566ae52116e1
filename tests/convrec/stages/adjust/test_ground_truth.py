"""Seen titles: every item that a title may mean is seen, in demonstrations as in metrics."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from convrec.config import Config
from convrec.metrics.relevance import match_lines
from convrec.stages.adjust import DEMONSTRATIONS
from convrec.stages.adjust.ground_truth import read_seen, seen_inputs
from convrec.stages.base import StepContext
from convrec.titles.index import TitleIndex
from tests.convrec.stages.adjust.conftest import TITLED, titled

CATALOG = [
    ("a", "The Thing", 1982),
    ("b", "The Thing", 2011),
    ("c", "The Thing", 2012),
    ("d", "Heat", 1995),
]


def ctx(store: Any, seen: list[tuple[str, int | None]], catalog: Any = CATALOG) -> StepContext:
    conversations = pl.DataFrame(
        {
            "sample_id": ["s"],
            "context_id": ["x"],
            "split": ["train"],
            "conversation": ["more of these"],
            "prompt": [None],
            "seen": [[{"title": title, "year": year} for title, year in seen]],
            "ground_truth": [titled(1)],
            "completion": [None],
        },
        schema_overrides={
            "seen": TITLED,
            "ground_truth": TITLED,
            "prompt": pl.String,
            "completion": pl.String,
        },
    )
    frames = {
        "catalog": pl.DataFrame(catalog, ["item_id", "title", "year"], orient="row"),
        "conversations": conversations,
        "candidates": pl.DataFrame(
            {
                "context_id": ["x"] * len(catalog),
                "item_id": [item for item, *_ in catalog],
                "score": [1.0 - n / 10 for n in range(len(catalog))],
                "rank": range(1, len(catalog) + 1),
            },
            schema_overrides={"rank": pl.Int32},
        ),
    }
    settings = {"list_length": 2, "reflect": {"enabled": False}, "adjust": {"enabled": False}}
    return StepContext(Config.model_validate(settings), store, {}, frames=frames)


@pytest.mark.parametrize(
    ("title", "items"),
    [
        (("The Thing", None), [0, 1, 2]),
        (("the thing", 2011), [1, 2]),
        (("The Thing", 1984), [0]),
        (("Heat", None), [3]),
        (("Heat", 1950), []),
    ],
)
def test_what_is_seen_is_what_metrics_count_as_seen(
    store: Any, title: tuple[str, int | None], items: list[int]
) -> None:
    contexts = pl.DataFrame({"context_id": ["x"], "context": [0]})
    found = read_seen(ctx(store, [title]), contexts)
    assert sorted(found["item"]) == items
    index = TitleIndex(CATALOG)
    lines = [f"{name} ({year})" for _, name, year in CATALOG]
    matched = match_lines(lines, index, [title], [])
    assert [row for row, line in enumerate(matched) if line.seen] == items


def test_a_demonstration_has_no_line_that_counts_as_seen(store: Any) -> None:
    rows = DEMONSTRATIONS.build(ctx(store, [("The Thing", None)])).rows
    assert rows["completion"].to_list() == ["Heat (1995)"]


def test_the_id_changes_only_where_a_title_means_several_items(store: Any) -> None:
    assert seen_inputs(ctx(store, [("The Thing", None)])) == {"seen": "all items of a title"}
    assert seen_inputs(ctx(store, [("The Thing", 2012)])) == {"seen": "all items of a title"}
    assert seen_inputs(ctx(store, [("The Thing", 1982), ("Heat", None)])) == {}
    assert seen_inputs(ctx(store, [("The Thing", None)], CATALOG[2:])) == {}
