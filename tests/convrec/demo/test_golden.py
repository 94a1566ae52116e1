"""The posts and responses of the film demo never change, byte for byte."""

from __future__ import annotations

from typing import Any

from convrec.artifacts.identity import digest
from convrec.config import load
from convrec.demo import complete
from convrec.demo.posts import generate_rows
from convrec.stages.recommend.step import teacher_messages
from convrec.titles.line_format import parse_chat_list

SCHEMA = {"properties": {"ratings": {"items": {"properties": {"rating": {"maximum": 2}}}}}}
POSTS = "a456a236145a941cfe82bd2cf2d6fd3e8bf750da88b16dcd74e614fad5c99fef"
REQUESTS = "03fdb399387c39233571a52637fcf73fcd4d5a6b620179288a2ff98e516485c4"
TEACHER = "5b413444e73409a565a4485a50a1b64702380faf28c1a77aeb2c83b90eff8e52"
JUDGE = "df3d3dbf29bd9064cbdf081d1c6eeb41d96358a35ad3471d1553a22e1f617aa4"
INSTRUCTIONS = "You judge how well each candidate movie answers the request in a conversation."


def posts() -> list[str]:
    rows = generate_rows(7, {"train": 60, "validation": 5, "test": 15})
    return [r["prompt"][0]["content"] for r in rows if isinstance(r, dict) and r["prompt"]]


def teacher_body(text: str) -> dict[str, Any]:
    settings = load("demo").recommend
    return {
        "model": settings.model,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "messages": teacher_messages(text, load("demo")),
    }


def judge_body(text: str, lines: list[str]) -> dict[str, Any]:
    listed = "\n".join(f"{n}. {line}" for n, line in enumerate(lines, start=1))
    shown = f"<conversation>\n{text}\n</conversation>\n<candidates>\n{listed}\n</candidates>"
    return {
        "model": "demo-judge",
        "messages": [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": shown},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
    }


def test_the_film_posts_are_unchanged() -> None:
    assert digest(generate_rows(7, {"train": 60, "validation": 5, "test": 15})) == POSTS


def test_the_teacher_requests_are_unchanged() -> None:
    assert digest([teacher_body(text) for text in posts()]) == REQUESTS


def test_the_simulated_models_are_unchanged() -> None:
    teacher = [complete(teacher_body(text)) for text in posts()]
    judge = []
    for text, answer in zip(posts(), teacher, strict=True):
        items = [item for _, item in parse_chat_list(answer["choices"][0]["message"]["content"])]
        lines = [f"{title} ({year})" if year else title for title, year in items]
        judge.append(complete(judge_body(text, lines)))
    assert digest(teacher) == TEACHER
    assert digest(judge) == JUDGE
