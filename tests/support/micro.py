"""A model configuration of a few thousand weights, and prompts with lists of three films."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from convrec.config import Config

FILMS = ["Alien (1979)", "Aliens (1986)", "Heat (1995)", "Amélie (2001)", "Up (2009)"]
ROWS = [
    (f"I liked {FILMS[i % 5]} and want {'more' if i % 2 else 'another'} like it", "\n".join(
        FILMS[(i + k) % 5] for k in (1, 2, 3)
    ))
    for i in range(24)
]  # fmt: skip
TEXTS = [text for row in ROWS for text in row]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def micro() -> Config:
    return Config.model_validate(
        {
            "list_length": 3,
            "reflect": {"top": 5},
            "model": {
                "prompt": "plain",
                "hidden": 16,
                "layers": 1,
                "vocabulary": 300,
                "max_prompt_tokens": 64,
                "max_completion_tokens": 48,
            },
            "sft": {"epochs": 3, "learning_rate": 1e-2},
        }
    )
