"""A run knows before its first request whether lists fit into `model.max_completion_tokens`."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from convrec.config import Config, load
from convrec.errors import ConfigError
from convrec.models.load import load_tokenizer
from convrec.models.prompts import encode_completion
from convrec.operations.sizing.preflight_lists import (
    check_list_length,
    list_tokens,
    refuse_cut_lists,
)
from convrec.stages.ingest.read import read_catalog
from tests.support.model_folders import save_model

N = 20


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return save_model(tmp_path / "student")


def with_room(student: Path, tokens: int, **settings: str) -> Config:
    model = {"model.base": str(student), "model.max_completion_tokens": tokens}
    return load("demo", {**model, **settings})


def test_the_shortest_lines_of_the_whole_catalog_decide(student: Path) -> None:
    config = with_room(student, 512)
    items, _ = read_catalog(config)
    tokenizer = load_tokenizer(student)
    lines = [config.line_format.format(*row) for row in items.select("title", "year").iter_rows()]
    lines.sort(key=lambda line: len(encode_completion(tokenizer, line, 512)))
    needed = len(encode_completion(tokenizer, "\n".join(lines[:N]), 512))
    tokens = list_tokens(config)
    assert tokens.shortest == needed
    assert tokens.average > needed
    refuse_cut_lists(with_room(student, tokens.average))
    with pytest.raises(ConfigError) as raised:
        refuse_cut_lists(with_room(student, needed - 1))
    assert str(raised.value) == (
        f"a list of 20 lines needs at least {needed} tokens, but "
        f"model.max_completion_tokens={needed - 1}; raise it, or lower list_length"
    )


def test_lists_that_would_mostly_be_cut_are_a_warning(
    student: Path, caplog: pytest.LogCaptureFixture
) -> None:
    average = list_tokens(with_room(student, 512)).average
    with caplog.at_level(logging.WARNING, "convrec"):
        refuse_cut_lists(with_room(student, average))
        assert caplog.messages == []
        refuse_cut_lists(with_room(student, average - 1))
    assert caplog.messages == [
        f"a list of 20 average catalog lines has {average} tokens, but model.max_completion_tokens="
        f"{average - 1}, so most would be cut; raise it, or lower list_length"
    ]


def test_a_tiny_model_needs_two_tokens_a_line() -> None:
    refuse_cut_lists(load("demo", {"model.max_completion_tokens": 2 * N}))
    with pytest.raises(ConfigError, match="needs at least 40 tokens"):
        refuse_cut_lists(load("demo", {"model.max_completion_tokens": 2 * N - 1}))


def test_provided_lists_may_be_shorter(student: Path) -> None:
    findings = check_list_length(with_room(student, 60, **{"recommend.source": "provided"}))
    assert "so most would be cut" in findings[0].text
