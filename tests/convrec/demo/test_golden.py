"""The posts and responses of the demo never change, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest

from convrec.artifacts.identity import digest
from convrec.config import Config, load
from convrec.demo import complete
from convrec.demo.posts import generate_rows
from convrec.stages.recommend.step import teacher_messages
from convrec.titles.line_format import parse_chat_list

SCHEMA = {"properties": {"ratings": {"items": {"properties": {"rating": {"maximum": 2}}}}}}
INSTRUCTIONS = "You judge how well each candidate {noun} answers the request in a conversation."
SIZES = {"train": 60, "validation": 5, "test": 15}

DIGESTS = {
    "demo": [
        "75579deb0693263c0eb04c8d200cb0ff73da648390cdc45b9151585d368c9f85",
        "62fd51e27ade13b8d849d9469b934040666ad88746ec86cb375457ca508cbeeb",
        "96383ba41839a62585786ac0d3170b9f94db78c79f8cab1308b583008aacb167",
        "146b741fcaeabc7018e323f9050cba70d6d35413cd419263594e8d86ae538c06",
    ],
    "demo-books": [
        "c7b02b258eec57da326c4ab7c12c8dd7bfa03c4ea06d4c1c3a49b792d596f609",
        "96e8b4e502ae8f7fde3a4ec4af3484854696620c5967280ce72ba5cd1e1c1d8f",
        "6d748245d991cd8422042a8b674e8233b17dd2b1225047aa4d009468fa487e4e",
        "0cef5afb87019c171b76a32fee5aeb42d0c837c70a0ee9574113506909fe586c",
    ],
}
"""Profile → digests of the rows, the teacher's requests, its responses, and the judge's."""


def posts(config: Config) -> list[str]:
    rows = generate_rows(7, SIZES, config.ingest.world)
    return [r["prompt"][0]["content"] for r in rows if isinstance(r, dict) and r["prompt"]]


def teacher_body(text: str, config: Config) -> dict[str, Any]:
    settings = config.recommend
    return {
        "model": settings.model,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "messages": teacher_messages(text, config),
    }


def judge_body(text: str, lines: list[str], config: Config) -> dict[str, Any]:
    listed = "\n".join(f"{n}. {line}" for n, line in enumerate(lines, start=1))
    shown = f"<conversation>\n{text}\n</conversation>\n<candidates>\n{listed}\n</candidates>"
    return {
        "model": "demo-judge",
        "messages": [
            {"role": "system", "content": INSTRUCTIONS.format(noun=config.domain.noun)},
            {"role": "user", "content": shown},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
    }


@pytest.mark.parametrize("profile", ["demo", "demo-books"])
def test_the_demo_is_unchanged(profile: str) -> None:
    config = load(profile)
    requests = [teacher_body(text, config) for text in posts(config)]
    teacher = [complete(request) for request in requests]
    judge = []
    for text, answer in zip(posts(config), teacher, strict=True):
        items = [item for _, item in parse_chat_list(answer["choices"][0]["message"]["content"])]
        lines = [f"{title} ({year})" if year else title for title, year in items]
        judge.append(complete(judge_body(text, lines, config)))
    rows = generate_rows(7, SIZES, config.ingest.world)
    assert [digest(each) for each in (rows, requests, teacher, judge)] == DIGESTS[profile]
