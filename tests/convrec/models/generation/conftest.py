from __future__ import annotations

import pytest
import torch

from convrec.config import Config
from convrec.models.load import Student
from convrec.models.tiny import make_tiny

TEXTS = ["more like Alien (1979).\nplease", "Heat (1995).\nUp (2009).", "something funny"]


@pytest.fixture
def micro() -> Config:
    model = {"prompt": "plain", "hidden": 16, "layers": 2, "vocabulary": 300}
    model |= {"max_prompt_tokens": 64, "max_completion_tokens": 24}
    return Config.model_validate({"model": model, "evaluate": {"batch_size": 6}})


@pytest.fixture
def student(micro: Config) -> Student:
    """A random model whose answers end now and then."""
    model, tokenizer = make_tiny(TEXTS, micro.model, seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)
    return Student(model, tokenizer)
