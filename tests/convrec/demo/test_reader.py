"""What the simulated models understand of requests in free words."""

from __future__ import annotations

import pytest

from convrec.demo.reader import find_work, read_post
from convrec.demo.wish import EVER, Refusal
from convrec.demo.world import load_world

FILMS = load_world("films")


@pytest.mark.parametrize(
    ("text", "genres", "refused"),
    [
        ("Which films have crime and laughs?", {"Crime", "Comedy"}, Refusal()),
        ("Name films with war, but no romance.", {"War"}, Refusal(genres=frozenset({"Romance"}))),
        ("crime but no comedy", {"Crime"}, Refusal(genres=frozenset({"Comedy"}))),
        ("Anything but horror. Some drama.", {"Drama"}, Refusal(genres=frozenset({"Horror"}))),
        ("Drama. I am tired of the 90s.", {"Drama"}, Refusal(years=frozenset({(1990, 1999)}))),
        ("Drama. Nothing bleak please.", {"Drama"}, Refusal(moods=frozenset({"dark"}))),
        (
            "Drama. Not another one by John Ford.",
            {"Drama"},
            Refusal(people=frozenset({"John Ford"})),
        ),
    ],
)
def test_a_refusal_is_not_a_wish(text, genres, refused):
    wish = read_post(text, FILMS).stated
    assert (wish.genres, wish.refused) == (frozenset(genres), refused)


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("Crime from the seventies.", (1970, 1979)),
        ("Crime made before 1970.", (EVER[0], 1969)),
        ("Crime newer than 1990.", (1991, EVER[1])),
        ("Which films are like Heat, but newer?", (1996, EVER[1])),
        ("Which films are like Heat (1995), but from earlier years?", (EVER[0], 1994)),
        ("Crime.", EVER),
    ],
)
def test_years_are_understood(text, years):
    assert read_post(text, FILMS).stated.years == years


def test_titles_stand_for_two_of_their_genres():
    reading = read_post("Which films are like Heat?", FILMS)
    assert [work.title for work in reading.works] == ["Heat"]
    assert {wish.genres for wish in reading.guesses()} == {
        frozenset({"Crime", "Drama"}),
        frozenset({"Crime", "Thriller"}),
        frozenset({"Drama", "Thriller"}),
    }
    both = read_post("Which films are like Heat and Platoon?", FILMS).guesses()
    assert [wish.genres for wish in both] == [frozenset({"Drama"})]


def test_the_longest_title_counts():
    assert [w.title for w in read_post("I loved Blade Runner 2049.", FILMS).works] == [
        "Blade Runner 2049"
    ]
    assert read_post("her house had no heat", FILMS).works == ()


def test_nothing_is_understood_of_other_words():
    reading = read_post("Good evening", FILMS)
    assert reading.guesses() == [reading.stated]
    assert all(reading.stated.allows(work) for work in FILMS.works)


def test_other_names_of_a_work_are_read():
    works = read_post("USER: i liked 2001: a space odyssey and Hausu", FILMS).works
    assert [work.title for work in works] == ["2001: A Space Odyssey", "House"]


def test_films_with_the_same_title_differ_by_year():
    earlier = find_work("The Italian Job", 1969, FILMS)
    assert find_work("the italian job", 2003, FILMS) not in (earlier, None)
    assert find_work("The Italian Job", None, FILMS) is earlier
