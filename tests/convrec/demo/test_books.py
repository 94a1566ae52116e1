"""The second world: books, served by the same process as films."""

from __future__ import annotations

import csv
import json
from statistics import mean
from typing import Any

import pytest

from convrec.config import ROOT, load
from convrec.demo import complete
from convrec.demo.post_parser import find_work, parse_post
from convrec.demo.posts import generate_rows
from convrec.demo.world import WORLDS, World, detect_world, load_world
from convrec.stages.ingest.read import read_conversations
from convrec.stages.recommend.step import teacher_messages
from convrec.titles.line_format import parse_chat_list

BOOKS = load_world("books")


def teacher_text(text: str, profile: str) -> dict[str, Any]:
    body = {"model": "demo-teacher", "messages": teacher_messages(text, load(profile))}
    return complete(body)["choices"][0]["message"]["content"]


def known_share(answer: str, world: World) -> float:
    """Share of the lines that name a work of the world."""
    return mean(find_work(*item, world) is not None for _, item in parse_chat_list(answer))


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_is_complete(name) -> None:
    world = load_world(name)
    assert {work.taste for work in world.works} == set(world.tastes)
    for taste in world.tastes.values():
        assert taste.neighbor in set(world.tastes) - {taste.name}
        assert len(world.of_taste(taste.name)) >= 15
        for cue in taste.cues:
            assert parse_post(cue, world).main_taste() == taste.name


def test_each_wish_identifies_its_taste() -> None:
    for taste in BOOKS.tastes.values():
        tastes = [parse_post(want, BOOKS).main_taste() for want in taste.wants]
        assert tastes.count(taste.name) == len(tastes), list(zip(taste.wants, tastes, strict=True))


def test_the_noun_in_the_instructions_selects_the_world() -> None:
    assert detect_world("Recommend a novel, not a film") is BOOKS
    assert detect_world("You recommend movies.") is load_world()
    assert detect_world("Bookmakers and filmography") is load_world()
    assert detect_world("") is load_world()


def test_one_process_serves_both_worlds() -> None:
    text = "I loved Dune and Solaris. Looking for space."
    assert known_share(teacher_text(text, "demo-books"), BOOKS) == 1
    assert known_share(teacher_text(text, "demo"), load_world()) == 1
    assert "(" not in teacher_text(text, "demo-books")


def test_nouns_in_a_post_do_not_select_the_world() -> None:
    assert known_share(teacher_text("I love books, novels and Dune", "demo"), load_world()) == 1
    assert known_share(teacher_text("the movie was better", "demo-books"), BOOKS) == 1


def test_the_judge_knows_books() -> None:
    lines = [work.title for taste in ("sea", "love") for work in BOOKS.of_taste(taste)]
    listed = "\n".join(f"{n}. {line}" for n, line in enumerate(lines, start=1))
    schema = {"properties": {"ratings": {"items": {"properties": {"rating": {"maximum": 2}}}}}}
    body = {
        "model": "demo-judge",
        "messages": [
            {"role": "system", "content": "Judge how well each candidate book fits."},
            {
                "role": "user",
                "content": "<conversation>\nA sea story with pirates please.\n</conversation>\n"
                f"<candidates>\n{listed}\n</candidates>",
            },
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }
    texts = [complete(body | {"seed": n})["choices"][0]["message"]["content"] for n in range(30)]
    rated = [json.loads(a)["ratings"] for a in texts if a.endswith("}")]
    sea, love = ([r["rating"] for one in rated for r in one[a:b]] for a, b in ((0, 15), (15, 30)))
    assert mean(sea) > mean(love) + 1


def test_the_books_match_the_shipped_catalog() -> None:
    with (ROOT / "catalog" / "demo-books.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    facts = {(r["name"], r["author"], r["published"], r["other_names"]) for r in rows}
    works = {(w.title, w.author, str(w.year), "|".join(w.aliases)) for w in BOOKS.works if w.crowd}
    assert facts == works
    assert len(facts) == len(rows) == 150
    assert len(BOOKS.works) == 190
    assert "taste" not in rows[0]


def test_posts_mention_books_and_authors() -> None:
    rows = [r for r in generate_rows(7, {"train": 200}, "books") if isinstance(r, dict)]
    texts = [r["prompt"][0]["content"] for r in rows if "broken" not in r["sample_id"]]
    assert 0.2 < mean(" by " in text for text in texts) < 0.6
    assert not any("movie" in text.lower() or "film" in text.lower() for text in texts)
    assert len(texts) > 100
    assert all(parse_post(text, BOOKS).main_taste() for text in texts)


def test_ingest_quarantines_the_broken_rows() -> None:
    config = load("demo-books", {"ingest.contexts": {"train": 50, "validation": 5, "test": 5}})
    conversations, quarantine = read_conversations(config)
    assert conversations["context_id"].n_unique() == 60
    assert quarantine["reason"].n_unique() == quarantine.height == 6
