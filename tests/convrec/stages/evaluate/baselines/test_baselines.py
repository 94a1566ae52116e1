"""Popularity and kNN on four posts."""

from __future__ import annotations

from typing import Any, cast

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.config import Config
from convrec.stages.base import StepContext
from convrec.stages.evaluate.baselines import TrainingData, choose_k, knn, popularity, read_training
from convrec.stages.evaluate.samples import Sample

ITEMS = [("Heat", 1995), ("Ronin", 1998), ("Alien", 1979), ("Up", 2009), ("Up", 2015)]
POSTS = {
    "a": ("slow heist with a crew", [0, 1]),
    "b": ("another heist and a crew please", [1]),
    "c": ("scary space ship", [2]),
    "d": ("balloons and a grumpy man", [3]),
}
CATALOG = pl.DataFrame(
    [(f"i{row}", *item, []) for row, item in enumerate(ITEMS)],
    schema={
        "item_id": pl.String,
        "title": pl.String,
        "year": pl.Int32,
        "aliases": pl.List(pl.String),
    },
    orient="row",
)
SCHEMA = ["sample_id", "context_id", "split", "conversation", "seen", "ground_truth"]


def titled(rows: list[int]) -> list[dict[str, str | int]]:
    return [{"title": ITEMS[row][0], "year": ITEMS[row][1]} for row in rows]


@pytest.fixture
def training() -> TrainingData:
    rows = [(p, p, "train", text, [], titled(truth)) for p, (text, truth) in POSTS.items()]
    rows.append(("b2", "b", "train", POSTS["b"][0], [], titled([1])))
    rows.append(("t", "t", "test", "a heist", [], titled([2])))
    found = read_training(in_memory(rows, CATALOG))
    assert found is not None
    return found


def in_memory(rows: list[Any], catalog: pl.DataFrame, **evaluate: int) -> StepContext:
    conversations = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    config = Config.model_validate({"evaluate": evaluate})
    frames = {"conversations": conversations, "catalog": catalog}
    return StepContext(config, cast(Store, None), frames=frames)


def make_sample(text: str, seen: list[tuple[str, int | None]], truth: list[int]) -> Sample:
    return Sample("s", "s", seen, [ITEMS[row] for row in truth], text)


def test_popularity(training: TrainingData) -> None:
    plain, seen = make_sample("any", [], [0]), make_sample("any", [("ronin", None)], [0])
    assert training.mentions.tolist() == [1, 3, 1, 1, 0]
    assert popularity(training, [plain, seen], 2) == [[ITEMS[1], ITEMS[0]], [ITEMS[0], ITEMS[2]]]


def test_matching_rows(training: TrainingData) -> None:
    assert training.matching_rows([("Up", 2010)]) == {3}
    assert training.matching_rows([("Up", None)]) == {3, 4}
    assert training.matching_rows([("Brazil", 1985)]) == set()


def test_knn_prefers_answers_of_the_nearest_posts(training: TrainingData) -> None:
    lists = knn(training, [make_sample("scary ship in space", [], [2])], 4, k=2)
    assert lists == [[ITEMS[2], ITEMS[1], ITEMS[0], ITEMS[3]]]


def test_knn_sums_over_neighbors_and_excludes_seen(training: TrainingData) -> None:
    one, two = make_sample("a heist crew", [], [1]), make_sample("a heist crew", [ITEMS[1]], [0])
    lists = knn(training, [one, two], 2, k=4)
    assert lists == [[ITEMS[1], ITEMS[0]], [ITEMS[0], ITEMS[2]]]


def test_k_larger_than_the_number_of_posts(training: TrainingData) -> None:
    sample = make_sample("a heist crew", [], [1])
    assert knn(training, [sample], 3, k=500) == knn(training, [sample], 3, k=4)


def test_k_is_chosen_on_validation(training: TrainingData) -> None:
    assert choose_k(training, []) == 50
    assert choose_k(training, [make_sample("balloons", [], [3])]) == 4


def test_no_training_answer_in_the_catalog() -> None:
    rows = [("t", "t", "test", "a heist", [], titled([2]))]
    catalog = CATALOG.head(1)
    assert read_training(in_memory(rows, catalog)) is None


def test_knn_looks_at_a_sample_of_many_posts() -> None:
    rows = [(p, p, "train", text, [], titled(truth)) for p, (text, truth) in POSTS.items()]
    whole, part, same = (read_training(in_memory(rows, CATALOG, knn_posts=n)) for n in (0, 2, 2))
    assert whole is not None
    assert part is not None
    assert same is not None
    assert len(part.texts) == part.answer_counts.shape[0] == 2
    assert part.texts == same.texts
    assert set(part.texts) < set(whole.texts)
    assert part.mentions.tolist() == whole.mentions.tolist()  # all posts count for popularity
