"""The simulated teacher's descriptions."""

from __future__ import annotations

import json
import random

import pytest

from convrec.config import load
from convrec.demo import complete
from convrec.demo.describe import PROSE, respond
from convrec.demo.world import load_world

FILMS = load_world("films")


def test_known_works_are_described_by_what_they_are() -> None:
    work = FILMS.works[0]
    found = json.loads(respond(f"{work.title} ({work.year})", random.Random(1), FILMS))
    assert found["known"]
    assert set(found["keywords"]) == {*work.genres, work.mood, *work.people}
    assert work.mood in found["plot"]


@pytest.mark.parametrize("line", ["The Unmade Sequel 7 (2004)", "Heat (1985)"])
def test_other_titles_are_made_up_and_say_so(line: str) -> None:
    found = json.loads(respond(line, random.Random(1), FILMS))
    assert not found["known"]
    assert found["keywords"]


def test_some_answers_are_prose() -> None:
    answers = [respond("Heat (1995)", random.Random(seed), FILMS) for seed in range(2000)]
    prose = sum(not answer.startswith("{") for answer in answers) / 2000
    assert PROSE / 2 < prose < 2 * PROSE


@pytest.mark.parametrize(
    ("profile", "person"), [("demo", "Stanley Kubrick"), ("demo-books", "Stephen King")]
)
def test_the_noun_of_the_request_says_what_is_described(profile: str, person: str) -> None:
    domain = load(profile).domain
    system = domain.describe.format(noun=domain.noun, plural=domain.plural_noun)
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": "<title>\nThe Shining\n</title>"},
    ]
    answer = complete({"model": "demo-teacher", "messages": messages})
    assert person in json.loads(answer["choices"][0]["message"]["content"])["keywords"]
