"""The simulated teacher and judge have the faults that they promise, at their rates."""

from __future__ import annotations

import json
import random
from statistics import mean
from typing import Any

import pytest

from convrec.config import load
from convrec.demo import complete, teacher
from convrec.demo.judge import mean_rating
from convrec.demo.list_text import ALIAS, NO_YEAR, WRONG_YEAR
from convrec.demo.posts import draw_post
from convrec.demo.reader import Reading, find_work, read_post
from convrec.demo.wish import Refusal, Wish
from convrec.demo.world import WORLDS, load_world
from convrec.stages.recommend.step import teacher_messages
from convrec.stages.reflect.prompt import judge_body
from convrec.titles.line_format import format_line, parse_chat_list

PROFILES = {"films": "demo", "books": "demo-books"}
FILMS = load_world("films")
ROMANCE = Refusal(genres=frozenset({"Romance"}))


def ask_teacher(text: str, profile: str) -> str:
    body = {"model": "demo-teacher", "messages": teacher_messages(text, load(profile))}
    return str(complete(body)["choices"][0]["message"]["content"])


def ask_judge(text: str, lines: list[str], profile: str) -> dict[int, int]:
    content = complete(judge_body(text, lines, load(profile)))["choices"][0]["message"]["content"]
    try:
        ratings = json.loads(content)["ratings"]
    except ValueError:  # some responses end midway
        return {}
    return {each["candidate"]: each["rating"] for each in ratings}


def ranked(wish: Wish, count: int = 300) -> list[list[Any]]:
    rng = random.Random(5)
    return [teacher.rank_works(Reading((), wish), 10, rng, FILMS) for _ in range(count)]


@pytest.mark.parametrize("name", WORLDS)
def test_answers_are_from_the_world_of_the_post(name):
    rng, world, other = random.Random(1), load_world(name), set()
    found, asked = 0, 0
    for _ in range(40):
        post = draw_post(world, rng)
        lines = [item for _, item in parse_chat_list(ask_teacher(post.text, PROFILES[name]))]
        asked += len(lines)
        found += sum(find_work(*item, world) is not None for item in lines)
        other |= {item.title for item in lines}
    assert asked >= 700
    assert found == asked
    assert {work.title for work in world.works if not work.crowd} & other


def test_the_teacher_overlooks_some_refusals():
    lists = ranked(Wish(frozenset({"Comedy", "Drama"}), refused=ROMANCE))
    overlooked = [sum(ROMANCE.covers(work) for work in works[:5]) for works in lists]
    heedful = mean(count == 0 for count in overlooked)
    assert heedful == pytest.approx(1 - teacher.OVERLOOK_REFUSAL, abs=0.1)
    rng = random.Random(2)
    reading = Reading((), Wish(frozenset({"Comedy"}), refused=ROMANCE))
    wishes = [teacher.understood_wish(reading, rng, 0.3, 0.0) for _ in range(1000)]
    assert mean(not wish.refused for wish in wishes) == pytest.approx(0.3, abs=0.05)


def test_the_teacher_prefers_the_famous_and_drifts():
    wish = Wish(frozenset({"Drama"}))
    lists = ranked(wish)
    on_wish = [work for work in FILMS.works if wish.allows(work)]
    named = [work for works in lists for work in works if wish.allows(work)]
    assert mean(work.fame for work in named) > mean(work.fame for work in on_wish) + 0.5
    first, last = (mean(wish.allows(works[place]) for works in lists) for place in (0, 9))
    assert first == pytest.approx(teacher.FIRST_ON_WISH, abs=0.08)
    assert last == pytest.approx(teacher.LAST_ON_WISH, abs=0.1)
    outside = mean(not work.crowd for works in lists for work in works)
    assert 0.1 < outside < 0.35


def test_lists_have_the_faults_of_titles():
    rng, lines = random.Random(4), []
    for _ in range(150):
        answer = ask_teacher(draw_post(FILMS, rng).text, "demo")
        lines += [item for _, item in parse_chat_list(answer)]
    works = [find_work(item.title, item.year, FILMS) for item in lines]
    pairs = [(item, work) for item, work in zip(lines, works, strict=True) if work]
    aliased = [item.title != work.title for item, work in pairs if work.aliases]
    assert mean(aliased) == pytest.approx(ALIAS, abs=0.04)
    assert mean(item.year is None for item in lines) == pytest.approx(NO_YEAR, abs=0.015)
    wrong = mean(item.year not in (None, work.year) for item, work in pairs)
    assert wrong == pytest.approx(WRONG_YEAR, abs=0.03)


def test_the_judge_favors_fit_and_early_positions():
    wish = Wish(frozenset({"Comedy"}), refused=ROMANCE)
    works = [work for work in FILMS.catalog if not work.genres.isdisjoint({"Comedy", "War"})]
    lines = [format_line(work.title, work.year) for work in works[:30]]
    rng = random.Random(6)
    fitting, refused, first, last = [], [], [], []
    for number in range(120):
        order = rng.sample(range(len(lines)), len(lines))
        text = f"Name films with comedy, but no romance. Post {number}."
        ratings = ask_judge(text, [lines[index] for index in order], "demo")
        for place, index in enumerate(order):
            if (rating := ratings.get(place + 1)) is None:
                continue
            (fitting if wish.allows(works[index]) else refused).append(rating)
            if place < 5:
                first.append(rating)
            elif place >= 25:
                last.append(rating)
    assert mean(fitting) > mean(refused) + 0.5
    assert mean(first) > mean(last) + 0.3


def test_ratings_follow_the_conditions():
    wish = Wish(frozenset({"Comedy", "Crime"}), mood="playful", refused=ROMANCE)
    by_title = {work.title: work for work in FILMS.works}
    rated = [
        mean_rating(by_title[title], wish)
        for title in ("Ocean's Eleven", "Man Bites Dog", "Superbad", "Notting Hill", "Platoon")
    ]
    assert rated[0] > rated[1] > rated[2] > rated[3] == rated[4]


def test_the_judge_reads_the_post_as_the_teacher_does():
    post = read_post("Which films have comedy, but no romance?", FILMS)
    assert post.stated == Wish(frozenset({"Comedy"}), refused=ROMANCE)
