from __future__ import annotations

from typing import Any

import pytest

from convrec.titles.remarks import kind_of_work, read_remark


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("remake", {"order": "later"}),
        ("the new one", {"order": "latest"}),
        ("the original 1978 version", {"order": "earliest", "years": (1978, 1978)}),
        ("80s version", {"years": (1980, 1989)}),
        ("2010s", {"years": (2010, 2019)}),
        ("Live-Action", {"order": "live action"}),
        ("third one", {"number": 3}),
        ("TV Mini-Series", {"medium": "series"}),
        ("new Netflix series", {"order": "latest", "medium": "series", "other": ("netflix",)}),
        ("Rob Zombie remake", {"order": "later", "other": ("rob", "zombie")}),
        ("remake with Dakota Johnson", {"order": "later", "other": ("dakota", "johnson")}),
        ("animated film", {"genre": "animation", "medium": "film"}),
        ("Korean version", {"origin": "korean"}),
        ("South Korean remake", {"order": "later", "origin": "korean"}),
        ("Snyder Cut", {"is_edition": True}),
        ("not the remake", {"order": "earliest"}),
        ("not seen", {"other": ("not", "seen")}),
        ("animated or live-action", {"other": ("animated", "or", "live", "action")}),
    ],
)
def test_words_of_a_remark(text: str, meaning: dict[str, Any]) -> None:
    remark = read_remark(text)
    assert remark == read_remark("x")._replace(text=text, other=())._replace(**meaning)


@pytest.mark.parametrize(
    "text",
    [
        "A New Hope",
        "The Truman Show",
        "The Last Picture Show",
        "New and Selected",
        "Gojira",
        "Shichinin no samurai",
        "The Lego Movie",
        "Original Sin",
        "",
    ],
)
def test_names_are_no_remarks(text: str) -> None:
    remark = read_remark(text)
    assert remark.is_name
    assert not remark.tells


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("TV Series", "series"),
        ("tvSeries", "series"),
        ("tvMiniSeries", "series"),
        ("Mini-Series", "series"),
        ("movie", "film"),
        ("tvMovie", "film"),
        ("videoGame", "game"),
        ("Comedy", ""),
        ("Serial killers", ""),
    ],
)
def test_kind_of_work(text: str, kind: str) -> None:
    assert kind_of_work(text) == kind
