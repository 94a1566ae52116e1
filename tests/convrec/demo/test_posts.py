"""Generated posts: deterministic, and answered with works that meet every condition."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from convrec.config import ROOT, Config
from convrec.demo.posts import (
    FEWEST,
    KINDS,
    MOST,
    REMOVED,
    Post,
    allowed_works,
    draw_post,
    generate_rows,
    work_weight,
)
from convrec.demo.reader import find_work, read_post
from convrec.demo.wish import Refusal
from convrec.demo.world import WORLDS, load_world
from convrec.stages.evaluate.slices import TAG_PATTERNS
from convrec.stages.ingest.read import read_conversations

SIZES = {"train": 200, "validation": 30, "test": 30}
CATALOGS = {"films": "demo.csv", "books": "demo-books.csv"}


@pytest.fixture(scope="module", params=WORLDS)
def name(request) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rows(name) -> list[Any]:
    return generate_rows(7, SIZES, name)


@pytest.fixture(scope="module")
def posts(name) -> list[Post]:
    rng, world = random.Random(3), load_world(name)
    return [draw_post(world, rng) for _ in range(300)]


def good(rows: list[Any]) -> list[dict[str, Any]]:
    return [r for r in rows if isinstance(r, dict) and "broken" not in r["sample_id"]]


def text(row: dict[str, Any]) -> str:
    return str(row["prompt"][0]["content"])


def test_rows_depend_on_the_seed(rows, name):
    assert generate_rows(7, SIZES, name) == rows
    assert generate_rows(8, SIZES, name) != rows


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
    assert len(set(ids)) == len(ids) > sum(SIZES.values())


def test_each_split_has_its_months(rows):
    months = {split: set() for split in SIZES}
    for row in good(rows):
        month = datetime.fromtimestamp(row["created_utc"], UTC).strftime("%Y-%m")
        months[row["sample_id"].split("_")[1]].add(month)
    assert max(months["train"]) <= "2022-10"
    assert months["validation"] == {"2022-11"}
    assert months["test"] == {"2022-12"}


def test_splits_have_the_requested_sizes_and_no_overlap(rows):
    found = {split: set() for split in SIZES}
    for row in good(rows):
        found[row["sample_id"].split("_")[1]].add(text(row))
    assert {split: len(texts) for split, texts in found.items()} == SIZES
    assert len(set.union(*found.values())) == sum(SIZES.values())


def test_ids_end_with_the_kind_of_the_post(rows):
    samples = good(rows)
    found = [re.search(TAG_PATTERNS["demo"], row["sample_id"]) for row in samples]
    kinds = Counter(match[1] for match in found if match)
    assert kinds.total() == len(samples)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 0.08 * len(samples)


def test_kinds_are_what_they_say(posts):
    for post in posts:
        wish = post.wish
        assert bool(wish.refused) == (post.kind == "negation")
        assert wish.genres
        if post.kind == "era":
            assert wish.years != (0, 9999)
        if post.kind == "title-like":
            assert post.named
    assert any(len(post.wish.genres) == 2 and post.wish.mood for post in posts)


def test_ground_truth_meets_every_condition(rows, name):
    world, works = load_world(name), 0
    for row in good(rows):
        reading = read_post(text(row), world)
        truth = [find_work(t, int(y), world) for t, y in row["groundtruth_with_release_year"]]
        assert 3 <= len(truth) <= 6
        assert not {work.title for work in truth} & set(row["seen_titles"])
        works += len(truth)
        refused = reading.stated.refused
        assert not [w.title for w in truth if refused.covers(w)], text(row)
        if reading.stated.genres and row["sample_id"].endswith("era"):
            assert all(reading.stated.allows(work) for work in truth), text(row)
    assert works > 500


def test_refusals_rule_out_what_would_be_recommended(posts, name):
    world = load_world(name)
    refusing = [post for post in posts if post.kind == "negation"]
    assert len(refusing) > 80
    for post in refusing:
        wish = post.wish
        without = type(wish)(wish.genres, wish.years, wish.mood, wish.person, Refusal())
        free = allowed_works(world, without, post.named)
        left = allowed_works(world, wish, post.named)
        assert FEWEST <= len(left) <= MOST
        weights = [sum(work_weight(wish, work) for work in works) for works in (left, free)]
        assert weights[0] <= (1 - REMOVED[0]) * weights[1]


def test_posts_say_what_is_wanted(posts, name):
    world = load_world(name)
    misread = []
    for post in posts:
        if post.text == post.text.lower() and post.named:
            continue  # a title of one word may be any word
        reading = read_post(post.text, world)
        guesses = [
            replace(guess, genres=post.wish.genres)
            for guess in reading.guesses()
            if guess.genres >= post.wish.genres
        ]
        if set(reading.works) != set(post.named) or post.wish not in guesses:
            misread.append(post.text)
    assert len(misread) <= 0.02 * len(posts), misread


def test_the_catalog_has_the_works_of_the_world(name):
    books = name == "books"
    keys = ("name", "published", "subjects") if books else ("title", "year", "genres")
    with (ROOT / "catalog" / CATALOGS[name]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    good = rows if books else rows[:-2]
    facts = {
        (*(row[key] for key in keys), row["other_names" if books else "aliases"]) for row in good
    }
    works = load_world(name).catalog
    assert {(t, y, frozenset(g.split("|")), a) for t, y, g, a in facts} == {
        (w.title, str(w.year), w.genres, "|".join(w.aliases)) for w in works
    }
    assert len(good) == len(works) == (150 if books else 204)
    if not books:
        assert rows[-2] in good
        assert rows[-1]["year"] == "195"


def test_titles_and_years_are_real(shared):
    with (shared / "data/reddit_v2/catalog.csv").open(encoding="utf-8", newline="") as file:
        known = {(r["title"].casefold(), r["year"]) for r in csv.DictReader(file)}
    films = load_world("films").catalog
    found = [film for film in films if (film.title.casefold(), str(film.year)) in known]
    assert len(found) >= 0.93 * len(films)


def test_broken_rows_are_quarantined(name):
    sizes = {"train": 20, "validation": 5, "test": 5}
    ingest = {"format": "demo", "world": name, "contexts": sizes}
    samples, quarantine = read_conversations(Config.model_validate({"ingest": ingest}))
    assert quarantine["reason"].n_unique() == quarantine.height == 6
    assert samples["sample_id"].str.contains("broken").sum() == 0
