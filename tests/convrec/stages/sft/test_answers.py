"""Answers that are longer than the limit: whole lines without EOS, counted, and refused if all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from convrec.config import Config
from convrec.errors import TrainingError
from convrec.models.prompts import encode_completion
from convrec.models.tiny import make_tiny
from convrec.stages.sft.data import IGNORED, count_cut_answers, encode_rows
from convrec.stages.sft.train import train_sft
from tests.support.micro import ROWS, TEXTS


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tiny(TEXTS, Config().model.model_copy(update={"vocabulary": 300}), seed=0)[1]


def limited(micro: Config, tokens: int) -> Config:
    model = micro.model.model_copy(update={"max_completion_tokens": tokens})
    return micro.model_copy(update={"model": model})


LONG = ("I want many", "Up (2009)\n" * 30 + "Heat (1995)")
ENDLESS = ("I want one", "Up " * 300 + "(2009)")


def test_cut_answers_have_whole_lines_and_no_end(micro: Config, tokenizer: Any) -> None:
    size = len(encode_completion(tokenizer, ROWS[0][1], 999))
    config = limited(micro, max(size, 32))
    data = encode_rows([ROWS[0], LONG, ENDLESS], tokenizer, config)
    texts = [
        tokenizer.decode([token for token in labels if token != IGNORED])
        for labels in data["labels"]
    ]
    assert len(texts) == 2  # not one line of the third answer fits
    assert texts[0] == f"{ROWS[0][1]}{tokenizer.eos_token}"
    assert set(texts[1].split("\n")) == {"Up (2009)", ""}
    assert texts[1].endswith("(2009)\n")
    for row in zip(data["input_ids"], data["labels"], strict=True):
        ids, labels = (tokens.tolist() for tokens in row)
        prompt = sum(label == IGNORED for label in labels)
        assert ids[prompt:] == labels[prompt:]
        assert labels[:prompt] == [IGNORED] * prompt


def count(rows: list[tuple[str, str]], tokenizer: Any, config: Config) -> int:
    return count_cut_answers(len(rows), encode_rows(rows, tokenizer, config), tokenizer, config)


def test_many_cut_answers_are_warned_of(
    micro: Config, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    config = limited(micro, 60)
    with caplog.at_level(logging.WARNING, logger="convrec"):
        assert count(ROWS, tokenizer, config) == 0
        assert count([*ROWS * 9, LONG, ENDLESS], tokenizer, config) == 2  # 2 of 218
        assert not caplog.records
        assert count([*ROWS, LONG, ENDLESS], tokenizer, config) == 2
    (record,) = caplog.records
    assert "max_completion_tokens=60 cuts 2 of 26 answers" in record.getMessage()


def test_a_training_reports_its_cut_answers(micro: Config, tmp_path: Path) -> None:
    rows = [*ROWS[:7], LONG]
    figures, _ = train_sft(rows, ROWS[:2], limited(micro, 60), tmp_path / "out", seed=0)
    assert (figures["answers_cut"], figures["rows"]) == (1, 8)


def test_a_limit_that_cuts_every_answer_is_refused(micro: Config, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"max_completion_tokens=4 cuts every one of the 24"):
        train_sft(ROWS, [], limited(micro, 4), tmp_path / "out", seed=0)
    assert not (tmp_path / "out").exists()
