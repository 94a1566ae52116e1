"""A micro student that has learned to list three films in any order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from convrec.config import Model
from convrec.models.prompts import encode_completion, encode_prompt
from convrec.models.tiny import make_tiny

FILMS = ["Heat (1995)", "Alien (1979)", "Big (1988)"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of hidden width 16 and its tokenizer."""
    return save_student(tmp_path_factory.mktemp("student"), 16)


def save_student(folder: Path, hidden: int) -> Path:
    """Train a student of this width and save it to `folder`."""
    torch.set_num_threads(1)
    lists = ".\n".join([*FILMS, ""])  # a line that ends with a year would be one token
    texts = [lists, "something like Heat or Alien", "films with Big"]
    model, tokenizer = make_tiny(texts, Model(vocabulary=300, hidden=hidden, layers=2), seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    rng = random.Random(0)
    for _ in range(60):
        prompt = encode_prompt(tokenizer, f"something like {rng.choice(FILMS)[:-7]}", 32)
        answer = encode_completion(tokenizer, "\n".join(rng.sample(FILMS, rng.choice([2, 3]))), 99)
        ids = torch.tensor([prompt + answer])
        labels = torch.tensor([[-100] * len(prompt) + answer])
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
