from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from statistics import mean
from typing import Any

import pytest

from convrec.demo import MODELS, complete
from convrec.demo.post_parser import find_work, parse_post
from convrec.demo.posts import generate_rows
from convrec.demo.world import Work, load_world
from convrec.errors import InputError
from convrec.titles.line_format import format_line, parse_chat_list

POSTS = [
    row
    for row in generate_rows(3, {"train": 400})
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


def judge_body(text: str, candidates: list[str], scale: int = 2) -> dict[str, Any]:
    entry = {"properties": {"rating": {"minimum": -scale, "maximum": scale}}}
    schema = {"properties": {"ratings": {"items": entry}}}
    listed = "\n".join(f"{n}. {line}" for n, line in enumerate(candidates, start=1))
    content = f"<conversation>\n{text}\n</conversation>\n<candidates>\n{listed}\n</candidates>"
    return {
        "model": "demo-judge",
        "messages": [{"role": "user", "content": content}],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }


def content(body: dict[str, Any]) -> str:
    return str(complete(body)["choices"][0]["message"]["content"])


def films(answer: str) -> list[Work | None]:
    return [find_work(item.title, item.year) for _, item in parse_chat_list(answer)]


@pytest.fixture(scope="module")
def answers() -> list[tuple[str, list[Work | None], str]]:
    """(requested taste, recommended films, text) for many posts."""
    taste = {film.title: film.taste for film in load_world().works}
    rows = []
    for row in POSTS:
        answer = content(teacher_body(row["prompt"][0]["content"]))
        rows.append((taste[row["seen_titles"][0]], films(answer), answer))
    return rows


def test_responses_depend_on_the_request_and_its_seed():
    body = teacher_body("I loved Heat. Any heist?")
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
    assert {len(found) for _, found, _ in answers} == {20}
    assert len(films(content(teacher_body("I loved Heat.", n=7)))) == 7


def test_years_are_left_out_when_not_requested():
    assert re.search(r"\(\d{4}\)", content(teacher_body("heist please")))
    assert not re.search(r"\(\d{4}\)", content(teacher_body("heist please", form="Title")))


def test_every_line_names_a_real_film(answers):
    assert all(film is not None for _, found, _ in answers for film in found)


def test_a_sixth_of_the_titles_is_outside_the_catalog(answers):
    outside = mean(film.crowd == 0 for _, found, _ in answers for film in found if film)
    assert 0.15 < outside < 0.20


def test_the_head_of_a_list_fits_the_taste_better(answers):
    head = mean(f.taste == taste for taste, found, _ in answers for f in found[:5] if f)
    tail = mean(f.taste == taste for taste, found, _ in answers for f in found[-5:] if f)
    assert head > 0.7
    assert tail < head - 0.15


def test_famous_films_come_first(answers):
    of_taste = [[f for f in found if f and f.taste == taste] for taste, found, _ in answers]
    head = mean(f.fame for found in of_taste for f in found[:4])
    tail = mean(f.fame for found in of_taste for f in found[-4:])
    assert head > tail + 0.5


def test_titles_and_years_are_imprecise_as_in_real_lists(answers):
    items = [item for _, _, answer in answers for _, item in parse_chat_list(answer)]
    meant = [find_work(item.title, item.year) for item in items]
    pairs = [(item, film) for item, film in zip(items, meant, strict=True) if film]
    assert 0.05 < mean(item.title in film.aliases for item, film in pairs) < 0.25
    assert 0.02 < mean(item.year is None for item, _ in pairs) < 0.08
    wrong = [i.year - f.year for i, f in pairs if i.year not in (None, f.year)]
    assert 0.05 < len(wrong) / len(pairs) < 0.12
    assert 3 in map(abs, wrong)
    repeats = [n - 1 for _, found, _ in answers for n in Counter(found).values()]
    assert 0.005 < sum(repeats) / len(pairs) < 0.03


def test_lists_vary_in_markers_and_introductions(answers):
    first = Counter(re.sub(r"\w.*", "", answer.split("\n")[-1])[:2] for _, _, answer in answers)
    assert first["- "]
    assert any(answer.split("\n")[-1].startswith("20. ") for _, _, answer in answers)
    assert any(not re.match(r"20[.)] |- ", answer.split("\n")[-1]) for _, _, answer in answers)
    assert 0.03 < mean(answer.split("\n")[0].endswith(":") for _, _, answer in answers) < 0.15


def test_the_teacher_does_not_know_the_ground_truth(monkeypatch):
    """Its response does not depend on the popularity behind the ground truth."""
    body = teacher_body(POSTS[0]["prompt"][0]["content"])
    before = content(body)
    for film in load_world().works:
        monkeypatch.setitem(film.__dict__, "crowd", 1)
    assert content(body) == before


def test_a_post_without_titles_gets_famous_films(answers):
    found = films(content(teacher_body("hello, what is good?")))
    assert len(found) == 20
    assert mean(f.fame for f in found if f) > mean(f.fame for f in load_world().works)


def test_parsing_finds_titles_aliases_and_taste_words():
    read_films = parse_post("USER: i liked 2001: a space odyssey, Hausu and her. any ghosts?")
    assert [f.title for f in read_films.works] == ["2001: A Space Odyssey", "House"]
    assert read_films.main_taste() == "haunted"
    assert [f.title for f in parse_post("Her (2013) was lovely").works] == ["Her"]
    assert parse_post("what now").main_taste() is None


def test_films_with_the_same_title_differ_by_year():
    assert find_work("the italian job", 2003) is not find_work("The Italian Job", 1969)
    assert find_work("The Italian Job", None) is find_work("The Italian Job", 1969)


def ratings(answer: str) -> dict[int, int]:
    return {r["candidate"]: r["rating"] for r in json.loads(answer)["ratings"]}


def mixed_candidates() -> tuple[list[str], list[bool]]:
    """Westerns and romcoms alternately, and which of them are westerns."""
    pairs = zip(load_world().of_taste("western"), load_world().of_taste("romcom"), strict=True)
    mixed = [film for pair in pairs for film in pair]
    return [format_line(f.title, f.year) for f in mixed], [f.taste == "western" for f in mixed]


JUDGED = 800


@pytest.fixture(scope="module")
def judged() -> list[dict[int, int]]:
    """The ratings in JUDGED responses about the same candidates, where they are valid JSON."""
    lines, _ = mixed_candidates()
    found = []
    for n in range(JUDGED):
        body = judge_body("I want a dusty western.", lines) | {"seed": n}
        with contextlib.suppress(json.JSONDecodeError):
            found.append(ratings(content(body)))
    return found


def test_the_judge_prefers_the_requested_taste(judged):
    _, western = mixed_candidates()
    match = mean(r for one in judged for n, r in one.items() if western[n - 1])
    other = mean(r for one in judged for n, r in one.items() if not western[n - 1])
    assert match > other + 1


def test_the_judge_favors_early_positions(judged):
    early = mean(r for one in judged for n, r in one.items() if n <= 10)
    late = mean(r for one in judged for n, r in one.items() if n > 24)
    assert late + 0.2 < early < late + 1.2


def test_the_judge_stays_on_the_scale_of_the_schema(judged):
    lines, _ = mixed_candidates()
    assert {r for one in judged for r in one.values()} == {-2, -1, 0, 1, 2}
    wide = ratings(content(judge_body("I want a dusty western.", lines, scale=5)))
    assert max(map(abs, wide.values())) in (3, 4, 5)


def test_the_judge_seldom_fails(judged):
    """About 1% of the responses skip a candidate or are truncated."""
    lines, _ = mixed_candidates()
    lengths = Counter(len(one) for one in judged)
    assert set(lengths) == {len(lines), len(lines) - 1}
    assert 0 < JUDGED - len(judged) < 0.015 * JUDGED
    assert lengths[len(lines)] > 0.98 * JUDGED


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
