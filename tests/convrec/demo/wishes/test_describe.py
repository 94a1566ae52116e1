"""The simulated teacher's descriptions."""

from __future__ import annotations

import json
import random

from convrec.demo import complete
from convrec.demo.wishes.describe import PROSE, respond
from convrec.demo.wishes.world import load_world


def test_known_works_are_described_by_what_they_are() -> None:
    work = load_world("film-wishes").works[0]
    found = json.loads(respond(f"{work.title} ({work.year})", random.Random(1)))
    assert found["known"]
    assert set(found["keywords"]) == {*work.genres, work.mood, *work.people}
    assert work.mood in found["plot"]


def test_other_titles_are_made_up_and_say_so() -> None:
    found = json.loads(respond("The Unmade Sequel 7 (2004)", random.Random(1)))
    assert not found["known"]
    assert found["keywords"]


def test_some_answers_are_prose() -> None:
    answers = [respond("Heat (1995)", random.Random(seed)) for seed in range(2000)]
    prose = sum(not answer.startswith("{") for answer in answers) / 2000
    assert PROSE / 2 < prose < 2 * PROSE


def test_the_server_answers_requests_for_a_title() -> None:
    messages = [
        {"role": "system", "content": "Describe."},
        {"role": "user", "content": "<title>\nHeat (1995)\n</title>"},
    ]
    answer = complete({"model": "demo-teacher", "messages": messages})
    assert "keywords" in answer["choices"][0]["message"]["content"]
