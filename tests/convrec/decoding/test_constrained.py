from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from convrec.config import Config
from convrec.decoding.constrained import constrained_list, recommend_constrained
from convrec.decoding.lines import line_tokens
from convrec.errors import InputError
from convrec.sft.student import Student
from convrec.sft.train import save_student

CATALOG = [
    "Alien (1979)", "Alien", "Aliens (1986)", "Alien 3 (1992)", "Heat (1995)", "Up (2009)",
    "(500) Days of Summer (2009)", "Amélie (2001)", "東京物語 (1953)", "Se7en (1995)",
]  # fmt: skip


def merging() -> Tokenizer:
    """A tokenizer in which ")\\n" is one token, as in Qwen's vocabulary."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\s\w]+\n*| ?\w+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return bpe


def marking() -> Tokenizer:
    """A tokenizer that puts a space before the first word of a text, as in Llama 2's vocabulary."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split("\n", behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return bpe


def trained(bpe: Tokenizer) -> Any:
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["\n".join(CATALOG)] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|end|>")


@pytest.fixture(params=[None, merging, marking])
def chooser(request: pytest.FixtureRequest, student: Student) -> Student:
    if request.param is None:
        return student
    tokenizer = trained(request.param())
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=1, num_key_value_heads=1, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return Student(Qwen2ForCausalLM(config), tokenizer)


def test_a_random_model_can_only_write_what_is_allowed(chooser: Student, micro: Config) -> None:
    seen = ["Heat (1995)", "never in the catalog"]
    lists = [
        constrained_list(chooser, text, CATALOG, 9, micro, seen=seen)
        for text in ("Up", "funny", "something long and sad")
    ]
    for chosen in lists:
        assert len(chosen) == len(set(chosen)) == 9
        assert set(chosen) == set(CATALOG) - {"Heat (1995)"}
    again = constrained_list(chooser, "Up", CATALOG, 9, micro, seen=seen)
    assert again == lists[0]
    assert constrained_list(chooser, "Up", CATALOG, 4, micro, seen=seen)[:3] == lists[0][:3]


def test_line_tokens_are_those_of_the_list_as_a_whole(chooser: Student) -> None:
    tokenizer = chooser.tokenizer
    first, inside, last, only = line_tokens(tokenizer, CATALOG)
    for i, j in pairwise(range(len(CATALOG))):
        pair = inside[i] + last[j][:-1]
        text = f"Heat (1995)\n{CATALOG[i]}\n{CATALOG[j]}"
        assert pair == tokenizer(text)["input_ids"][-len(pair) :]
        assert first[i] + last[j][:-1] == tokenizer(f"{CATALOG[i]}\n{CATALOG[j]}")["input_ids"]
        assert only[i][:-1] == tokenizer(CATALOG[i])["input_ids"]
        assert last[j][-1] == only[j][-1] == tokenizer.eos_token_id


def test_greedy_takes_the_likeliest_allowed_token_at_each_fork(
    student: Student, micro: Config
) -> None:
    """Against the whole text through the model, for two catalog lines with different starts."""
    lines = ["Heat (1995)", "Up (2009)"]
    tokenizer = student.tokenizer
    text = "<|user|>Alien<|assistant|>"
    with torch.no_grad():
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        logits = student.model(ids).logits[0, -1]
    first = [tokenizer(line)["input_ids"][0] for line in lines]
    expected = lines if logits[first[0]] > logits[first[1]] else lines[::-1]
    assert constrained_list(student, "Alien", lines, 2, micro) == expected


def test_too_few_lines_are_an_error(student: Student, micro: Config) -> None:
    with pytest.raises(InputError, match=r"a list of 3 needs 3 .* and 2 are left"):
        constrained_list(student, "Up", ["a", "b", "b", "c"], 3, micro, seen=["c"])


def test_from_a_folder(student: Student, micro: Config, tmp_path: Path) -> None:
    save_student(student, tmp_path)
    expected = constrained_list(student, "Up", CATALOG, 5, micro)
    assert recommend_constrained(tmp_path, "Up", CATALOG, 5, micro) == expected
