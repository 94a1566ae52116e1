"""The dialogue of a sample, by a pattern of its id."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from convrec.config import Config
from convrec.stages.ingest.dialogue_ids import dialogue_ids, has_dialogues


def _dialogues(ids: list[str], **ingest: str) -> list[str]:
    contexts = [f"c{number}" for number in range(len(ids))]
    frame = pl.DataFrame({"sample_id": ids, "context_id": contexts})
    config = Config.model_validate({"ingest": ingest})
    return frame.select(dialogue_ids(config)).to_series().to_list()


def test_group_of_the_pattern_is_the_dialogue() -> None:
    assert _dialogues(["a_0", "a_1", "b_0"], dialogue=r"^(.+)_\d+$") == ["a", "a", "b"]


def test_unmatched_sample_is_a_dialogue_of_its_own() -> None:
    assert _dialogues(["a_0", "x"], dialogue=r"^(.+)_\d+$") == ["a", "c1"]


def test_formats_of_dialogues_have_a_pattern() -> None:
    assert _dialogues(["12/3", "12/5"], format="redial") == ["12", "12"]


def test_without_pattern_each_context_is_a_dialogue() -> None:
    assert _dialogues(["a_0", "a_1"], format="reddit-v2") == ["c0", "c1"]
    assert not has_dialogues(Config.model_validate({"ingest": {"format": "reddit-v2"}}))


@pytest.mark.parametrize("pattern", ["(", "a+", "(a)(b)"])
def test_pattern_needs_one_group(pattern: str) -> None:
    with pytest.raises(ValidationError, match=r"ingest.dialogue"):
        Config.model_validate({"ingest": {"dialogue": pattern}})
