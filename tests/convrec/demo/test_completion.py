"""Chat completions of the simulated models: the format, the world of a request, and ratings."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from statistics import mean
from typing import Any

import pytest

from convrec.config import load
from convrec.demo import MODELS, complete
from convrec.demo.posts import generate_rows
from convrec.demo.reader import find_work
from convrec.demo.world import World, detect_world, load_world
from convrec.errors import InputError
from convrec.stages.recommend.step import teacher_messages
from convrec.titles.line_format import format_line, parse_chat_list

FILMS, BOOKS = load_world("films"), load_world("books")
ROWS = [
    row
    for row in generate_rows(3, {"train": 300}, "films")
    if isinstance(row, dict) and "broken" not in row["sample_id"]
]


def teacher_body(text: str, n: int = 20, form: str = "Title (year)") -> dict[str, Any]:
    return {
        "model": "demo-teacher",
        "messages": [
            {"role": "system", "content": f"Recommend exactly {n} films, each as: {form}."},
            {"role": "user", "content": f"<conversation>\n{text}\n</conversation>"},
        ],
    }


def judge_body(
    text: str, candidates: list[str], scale: int = 2, noun: str = "movie"
) -> dict[str, Any]:
    entry = {"properties": {"rating": {"minimum": -scale, "maximum": scale}}}
    schema = {"properties": {"ratings": {"items": entry}}}
    listed = "\n".join(f"{n}. {line}" for n, line in enumerate(candidates, start=1))
    content = f"<conversation>\n{text}\n</conversation>\n<candidates>\n{listed}\n</candidates>"
    return {
        "model": "demo-judge",
        "messages": [
            {"role": "system", "content": f"Judge how well each candidate {noun} fits."},
            {"role": "user", "content": content},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }


def content(body: dict[str, Any]) -> str:
    return str(complete(body)["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def answers() -> list[str]:
    """Lists for many posts."""
    return [content(teacher_body(row["prompt"][0]["content"])) for row in ROWS]


def test_responses_depend_on_the_request_and_its_seed():
    body = teacher_body("I loved Heat. Which films have crime?")
    assert complete(body) == complete(dict(reversed(body.items())))
    assert content(body | {"seed": 1}) != content(body | {"seed": 2})


def test_a_completion_has_the_openai_format():
    done = complete(teacher_body("I loved Heat."))
    assert done["object"] == "chat.completion"
    assert done["model"] in MODELS
    (choice,) = done["choices"]
    assert choice["finish_reason"] == "stop"
    usage = done["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert abs(usage["completion_tokens"] - len(choice["message"]["content"]) / 4) < 1


def test_max_tokens_truncates_the_response():
    done = complete(teacher_body("I loved Heat.") | {"max_tokens": 10})
    assert done["choices"][0]["finish_reason"] == "length"
    assert done["usage"]["completion_tokens"] == 10


def test_a_list_has_the_requested_length(answers):
    assert {len(parse_chat_list(answer)) for answer in answers} == {20}
    assert len(parse_chat_list(content(teacher_body("I loved Heat.", n=7)))) == 7


def test_years_are_left_out_when_not_requested():
    assert re.search(r"\(\d{4}\)", content(teacher_body("crime please")))
    assert not re.search(r"\(\d{4}\)", content(teacher_body("crime please", form="Title")))


def test_some_works_are_named_twice(answers):
    items = [[item.title for _, item in parse_chat_list(answer)] for answer in answers]
    repeats = sum(count - 1 for titles in items for count in Counter(titles).values())
    assert 0.005 < repeats / sum(map(len, items)) < 0.03


def test_lists_vary_in_markers_and_introductions(answers):
    last = [answer.split("\n")[-1] for answer in answers]
    assert any(line.startswith("- ") for line in last)
    assert any(line.startswith("20. ") for line in last)
    assert any(not re.match(r"20[.)] |- ", line) for line in last)
    assert 0.03 < mean(answer.split("\n")[0].endswith(":") for answer in answers) < 0.15


def test_the_teacher_does_not_know_the_ground_truth(monkeypatch):
    """Its response does not depend on the popularity behind the ground truth."""
    body = teacher_body(ROWS[0]["prompt"][0]["content"])
    before = content(body)
    for work in FILMS.works:
        monkeypatch.setitem(work.__dict__, "crowd", 1)
    assert content(body) == before


def test_a_request_without_wishes_gets_famous_films():
    items = [item for _, item in parse_chat_list(content(teacher_body("hello, what is good?")))]
    found = [find_work(item.title, item.year, FILMS) for item in items]
    assert len(found) == 20
    assert mean(work.fame for work in found if work) > mean(work.fame for work in FILMS.works)


# -- which world a request is about --------------------------------------------------------------


def known_share(text: str, profile: str, world: World) -> float:
    """Share of the teacher's lines that name a work of the world."""
    body = {"model": "demo-teacher", "messages": teacher_messages(text, load(profile))}
    lines = parse_chat_list(content(body))
    return mean(find_work(item.title, item.year, world) is not None for _, item in lines)


def test_the_noun_in_the_instructions_selects_the_world():
    assert detect_world("Recommend a novel, not a film") is BOOKS
    assert detect_world("You recommend movies.") is FILMS
    assert detect_world("Bookmakers and filmography") is FILMS
    assert detect_world("") is FILMS


@pytest.mark.parametrize(
    "text", ["I loved Dune and Solaris. Some sci-fi?", "books, novels", "the movie was better"]
)
def test_nouns_in_a_post_do_not_select_the_world(text):
    assert known_share(text, "demo-books", BOOKS) == 1
    assert known_share(text, "demo", FILMS) == 1


def test_the_judge_knows_books():
    horror = [w.title for w in BOOKS.catalog if "Horror" in w.genres][:12]
    others = [w.title for w in BOOKS.catalog if not w.genres & {"Horror", "Gothic"}][:12]
    body = judge_body("Which books have scares?", horror + others, noun="book")
    texts = [content(body | {"seed": seed}) for seed in range(30)]
    rated = [list(ratings(text).values()) for text in texts if text.endswith("}")]
    half = len(horror)
    assert mean(r for one in rated for r in one[:half]) > 1 + mean(
        r for one in rated for r in one[half:]
    )


# -- ratings -------------------------------------------------------------------------------------


def ratings(answer: str) -> dict[int, int]:
    return {r["candidate"]: r["rating"] for r in json.loads(answer)["ratings"]}


LINES = [format_line(work.title, work.year) for work in FILMS.catalog[:30]]
JUDGED = 800


@pytest.fixture(scope="module")
def judged() -> list[dict[int, int]]:
    """The ratings in JUDGED responses about the same candidates, where they are valid JSON."""
    found = []
    for seed in range(JUDGED):
        with contextlib.suppress(json.JSONDecodeError):
            found.append(ratings(content(judge_body("Some westerns.", LINES) | {"seed": seed})))
    return found


def test_the_judge_stays_on_the_scale_of_the_schema(judged):
    assert {r for one in judged for r in one.values()} == {-2, -1, 0, 1, 2}
    wide = ratings(content(judge_body("Some westerns.", LINES, scale=5)))
    assert max(map(abs, wide.values())) in (3, 4, 5)


def test_the_judge_seldom_fails(judged):
    """About 1% of the responses skip a candidate or are truncated."""
    lengths = Counter(len(one) for one in judged)
    assert set(lengths) == {len(LINES), len(LINES) - 1}
    assert 0 < JUDGED - len(judged) < 0.015 * JUDGED
    assert lengths[len(LINES)] > 0.98 * JUDGED


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]}, "demo-teacher"),
        ({"model": "demo-teacher", "messages": []}, "messages"),
        ({"model": "demo-judge", "messages": [{"role": "user", "content": "x"}]}, "maximum"),
        (judge_body("a western", []), "<candidates>"),
    ],
)
def test_invalid_requests_are_refused_with_a_reason(body, says):
    with pytest.raises(InputError, match=re.escape(says)):
        complete(body)
