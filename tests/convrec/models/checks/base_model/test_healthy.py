"""A base model in order, and models that bring nothing to check."""

from __future__ import annotations

from pathlib import Path

from convrec.config import Config
from convrec.models.checks import check_base_model
from tests.support.broken_models import (
    settings,
)


def test_a_healthy_folder_passes_every_check(folder: Path) -> None:
    assert check_base_model(settings(folder)) == [
        "LlamaForCausalLM with all of its 21 weights",
        "all weights are finite",
        "its 256 positions hold 96 + 64 tokens",
        "prompts have its chat template and start with '<|user|>'",
        "all samplers work",
    ]


def test_tiny_needs_no_check() -> None:
    assert check_base_model(Config()) == []
