from __future__ import annotations

import polars as pl
import pytest

from convrec.artifacts import ArtifactRef, Store
from convrec.config import load
from convrec.errors import InputError
from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES, SIMILARITY_BASIS
from tests.support.films import film_catalog


def ctx_of(
    store: Store, lists: list[tuple[str, int, str, int | None]], **settings: object
) -> StepContext:
    frames = {
        "catalog": film_catalog(),
        "conversations": pl.DataFrame(
            {
                "context_id": ["c1", "c1"],
                "split": ["train", "train"],
                "conversation": ["USER: something with romance please"] * 2,
                "prompt": [""] * 2,
                "seen": [[], []],
            }
        ),
        "teacher_lists": pl.DataFrame(
            lists, schema=["context_id", "rank", "title", "year"], orient="row"
        ).with_columns(pl.lit("").alias("line")),
    }
    overrides = {f"remap.{key}": value for key, value in settings.items()}
    config = load("demo", {"remap.describe": "off", **overrides})
    frames["similarity_basis"] = SIMILARITY_BASIS.build(
        StepContext(config, store, frames=frames)
    ).rows
    parents: dict[str, ArtifactRef] = {}
    return StepContext(config, store, parents, frames=frames)


def test_score_is_identity_plus_similarity_plus_conversation(store: Store) -> None:
    lists = [("c1", 1, "Heat", 1995), ("c1", 4, "Alien", 1979), ("c1", 5, "Unknown Film", 2001)]
    rows = CANDIDATES.build(ctx_of(store, lists)).rows
    by_item = {row["item_id"]: row for row in rows.to_dicts()}
    heat, alien, sequel = (by_item[k] for k in ("Heat (1995)", "Alien (1979)", "Aliens (1986)"))

    assert heat["identity"] == pytest.approx(1.0)
    assert alien["identity"] == pytest.approx(0.5)
    assert sequel["identity"] == 0.0
    assert sequel["similarity"] > 0.0
    assert by_item["Notting Hill (1999)"]["conversation"] > 0.0
    for row in by_item.values():
        parts = row["identity"] + row["similarity"] + row["conversation"]
        assert row["score"] == pytest.approx(parts, abs=1e-6)
    assert rows["rank"].to_list() == [1, 2, 3, 4]
    assert rows["score"].to_list() == sorted(rows["score"], reverse=True)
    assert heat["linked_from"] == "Heat (1995)"
    assert sequel["linked_from"] is None


def test_a_repeated_title_counts_once_at_its_best_rank(store: Store) -> None:
    lists = [("c1", 1, "Heat", 1995), ("c1", 2, "Heat", 1995)]
    rows = CANDIDATES.build(ctx_of(store, lists)).rows
    assert rows.filter(pl.col("item_id") == "Heat (1995)")["identity"][0] == pytest.approx(1.0)


def test_at_weights_of_zero_only_listed_items_score(store: Store) -> None:
    ctx = ctx_of(store, [("c1", 1, "Alien", 1979)], similarity_weight=0.0, conversation_weight=0.0)
    rows = CANDIDATES.build(ctx).rows
    assert rows.filter(pl.col("score") > 0)["item_id"].to_list() == ["Alien (1979)"]


def test_a_list_outside_the_catalog_has_candidates(store: Store) -> None:
    rows = CANDIDATES.build(ctx_of(store, [("c1", 1, "Unknown Film", 2001)])).rows
    assert rows["item_id"][0] == "Notting Hill (1999)"
    assert set(rows["identity"]) == {0.0}
    assert rows["linked_from"].null_count() == rows["runner_up_score"].null_count() == rows.height


def test_no_teacher_list_is_an_error(store: Store) -> None:
    with pytest.raises(InputError, match="nothing to remap"):
        CANDIDATES.build(ctx_of(store, [("other", 1, "Heat", 1995)]))


def test_exact_links_are_of_equal_titles_alone(store: Store) -> None:
    lists = [("c1", 1, "heat", 1996), ("c1", 2, "Aliens", 1999), ("c1", 3, "Alien, The", 1979)]
    fuzzy = CANDIDATES.build(ctx_of(store, lists)).rows
    exact = CANDIDATES.build(ctx_of(store, lists, links="exact")).rows
    linked = {row["linked_from"]: row["item_id"] for row in exact.to_dicts()}
    assert linked == {"heat (1996)": "Heat (1995)", None: linked[None]}
    assert exact.filter(pl.col("item_id") == "Heat (1995)")["link_method"].to_list() == ["exact"]
    assert fuzzy["linked_from"].null_count() < exact["linked_from"].null_count()
    assert CANDIDATES.config(load("demo", {"remap.links": "exact"}))["links"] == "exact"
    assert "links" not in CANDIDATES.config(load("demo", {}))
