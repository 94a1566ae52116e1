from __future__ import annotations

import csv
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest

from convrec.config import ROOT, Config
from convrec.demo.posts import generate_rows
from convrec.demo.world import load_world
from convrec.stages.ingest.read import read_conversations

SIZES = {"train": 300, "validation": 40, "test": 40}


@pytest.fixture(scope="module")
def rows() -> list[Any]:
    return generate_rows(7, SIZES)


def good(rows: list[Any]) -> list[dict[str, Any]]:
    return [r for r in rows if isinstance(r, dict) and "broken" not in r["sample_id"]]


def split(row: dict[str, Any]) -> str:
    return str(row["sample_id"].split("_")[1])


def post(row: dict[str, Any]) -> str:
    return str(row["prompt"][0]["content"])


def test_rows_depend_on_the_seed(rows):
    assert generate_rows(7, SIZES) == rows
    assert generate_rows(8, SIZES) != rows


def test_every_row_has_the_authors_schema(rows):
    for row in good(rows):
        assert set(row) == {
            "sample_id",
            "prompt",
            "seen_titles",
            "groundtruth_with_release_year",
            "created_utc",
        }
        (message,) = row["prompt"]
        assert message["role"] == "user"
        assert message["content"].startswith("USER: ")
        assert all(year.isdecimal() for _, year in row["groundtruth_with_release_year"])
    ids = [row["sample_id"] for row in good(rows)]
    assert len(set(ids)) == len(ids)


def test_each_split_has_its_months(rows):
    months = defaultdict(set)
    for row in good(rows):
        months[split(row)].add(datetime.fromtimestamp(row["created_utc"], UTC).strftime("%Y-%m"))
    assert max(months["train"]) <= "2022-10"
    assert months["validation"] == {"2022-11"}
    assert months["test"] == {"2022-12"}


def test_splits_have_the_requested_sizes_and_no_overlap(rows):
    posts = defaultdict(set)
    for row in good(rows):
        posts[split(row)].add(post(row))
    assert {name: len(found) for name, found in posts.items()} == SIZES
    assert len(set.union(*posts.values())) == sum(SIZES.values())


def test_some_posts_have_several_answers(rows):
    answers = Counter(post(row) for row in good(rows))
    assert 1.2 <= sum(answers.values()) / len(answers) <= 1.4
    assert max(answers.values()) == 3


def test_ground_truth_is_in_the_catalog_and_unseen(rows):
    catalog = {(f.title, str(f.year)) for f in load_world().works if f.crowd}
    for row in good(rows):
        truth = [tuple(pair) for pair in row["groundtruth_with_release_year"]]
        assert 3 <= len(truth) <= 6
        assert len(set(truth)) == len(truth)
        assert set(truth) <= catalog
        assert not {title for title, _ in truth} & set(row["seen_titles"])


def test_ground_truth_mostly_shares_the_posters_taste(rows):
    taste = {film.title: film.taste for film in load_world().works if film.crowd}
    same = [
        taste[title] == taste[row["seen_titles"][0]]
        for row in good(rows)
        for title, _ in row["groundtruth_with_release_year"]
    ]
    assert 0.85 < sum(same) / len(same) < 0.95


def test_six_rows_are_broken_in_different_ways(rows):
    broken = [row for row in rows if row not in good(rows)]
    assert len(broken) == 6
    assert sum(not isinstance(row, dict) for row in broken) == 1
    assert sum("groundtruth_with_release_year" not in row for row in broken) == 2  # with the text
    assert any(
        isinstance(row, dict) and not post(row).removeprefix("USER:").strip() for row in broken
    )


def test_ingest_quarantines_the_broken_rows_with_six_reasons(rows):
    conversations, quarantine = read_conversations(
        Config.model_validate({"seed": 7, "ingest": {"format": "demo", "contexts": SIZES}})
    )
    assert conversations["sample_id"].to_list() == [row["sample_id"] for row in good(rows)]
    assert conversations.filter(conversations["split"] == "test")["context_id"].n_unique() == 40
    assert quarantine["reason"].n_unique() == quarantine.height == 6


def test_a_split_that_is_not_requested_is_empty():
    assert {split(row) for row in good(generate_rows(1, {"test": 3}))} == {"test"}


def test_the_films_match_the_shipped_catalog():
    with (ROOT / "catalog" / "demo.csv").open(encoding="utf-8", newline="") as file:
        *clean, repeat, bad_year = csv.DictReader(file)
    facts = {(r["title"], r["year"], r["aliases"]) for r in clean}
    assert facts == {
        (f.title, str(f.year), "|".join(f.aliases)) for f in load_world().works if f.crowd
    }
    assert len(facts) == len(clean) == 204
    assert repeat in clean
    assert bad_year["year"] == "195"
    assert "taste" not in clean[0]


def test_titles_and_years_are_real(shared):
    with (shared / "data/reddit_v2/catalog.csv").open(encoding="utf-8", newline="") as file:
        known = {(r["title"].casefold(), r["year"]) for r in csv.DictReader(file)}
    films = [film for film in load_world().works if film.crowd]
    found = [film for film in films if (film.title.casefold(), str(film.year)) in known]
    assert len(found) >= 0.93 * len(films)
