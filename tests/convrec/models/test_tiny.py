from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer

from convrec.config import Config
from convrec.models.load import Student, load_checkpoint, load_student, save_student
from convrec.models.tiny import make_tiny
from tests.support.micro import TEXTS

SAMPLE = "Amélie (2001)\nUp (2009)\n\nnever seen: 東京物語 (1953) 🎬"


def test_ids_are_the_same_after_save_and_reload(micro: Config, tmp_path: Path) -> None:
    model, tokenizer = make_tiny(TEXTS, micro.model, seed=1)
    save_student(Student(model, tokenizer), tmp_path)
    saved = load_checkpoint(tmp_path).tokenizer
    assert saved(SAMPLE)["input_ids"] == tokenizer(SAMPLE)["input_ids"]
    assert saved.chat_template == tokenizer.chat_template
    assert (saved.eos_token_id, saved.pad_token_id) == (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    auto = AutoTokenizer.from_pretrained(tmp_path)
    assert auto(SAMPLE)["input_ids"] != tokenizer(SAMPLE)["input_ids"], (
        "AutoTokenizer now agrees; load_tokenizer is no longer needed"
    )


def test_any_text_survives_encoding(micro: Config) -> None:
    _, tokenizer = make_tiny(TEXTS, micro.model, seed=1)
    assert tokenizer.decode(tokenizer(SAMPLE)["input_ids"]) == SAMPLE


def test_newlines_are_separate_tokens(micro: Config) -> None:
    _, tokenizer = make_tiny(TEXTS, micro.model, seed=1)
    for token, index in tokenizer.get_vocab().items():
        text = tokenizer.decode([index])
        assert text == "\n" or "\n" not in text, token


def test_the_seed_sets_the_weights_only(micro: Config) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = (make_tiny(TEXTS, micro.model, seed=s)[0] for s in (1, 1, 2))
    assert torch.rand(1) == expected
    weights = [m.state_dict()["model.embed_tokens.weight"] for m in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_default_tiny_has_about_a_million_parameters() -> None:
    words = (f"{a}{b}{c}" for a in "bcdfgklmnp" for b in "aeiou" for c in "bcdfgklmnprst")
    config = Config().model
    model = load_student("tiny", config=config, texts=[" ".join(words)]).model
    per_entry = config.hidden * (config.vocabulary - model.config.vocab_size)
    assert 0.8e6 < model.num_parameters() + per_entry < 1.3e6
