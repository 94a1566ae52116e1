"""A run is refused before its first request, and only for what it would train or sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.errors import ConfigError
from flows.pipeline import pipeline
from tests.support.model_folders import save_model

Small = dict[str, Any]


@pytest.mark.parametrize("stage", ["sft", "rank_grpo"])
def test_unknown_adapters_of_a_tiny_model_are_refused(home: Path, small: Small, stage: str) -> None:
    lora = {f"{stage}.lora.rank": 2, f"{stage}.lora.target_modules": ["query"]}
    with pytest.raises(ConfigError, match=rf"^{stage}\.lora\.target_modules names query, which"):
        pipeline(profile="demo", overrides={**small, **lora})
    assert not Store(home).headers()
    pipeline(profile="demo", overrides={**small, **lora}, until="ingest")


def test_lists_without_room_are_refused(home: Path, small: Small, tmp_path: Path) -> None:
    model = {"model.base": str(save_model(tmp_path / "student")), "model.prompt": "plain"}
    lengths = {"model.max_prompt_tokens": 96, "model.max_completion_tokens": 20}
    with pytest.raises(ConfigError, match="a list of 5 lines needs at least"):
        pipeline(profile="demo", overrides={**small, **model, **lengths})
    assert not Store(home).headers()
