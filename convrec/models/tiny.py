"""A student small enough for two CPU cores: Qwen2-shaped, about 1M parameters, its own tokenizer.

The tokenizer is byte-level BPE. A newline is always a token of its own, because ranks are lines. A
line that is a title and a year can be one token, so that a line takes two tokens instead of five
and a film is one choice; anywhere else, words and " (1979)" can be tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from convrec.config import Model

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|user|>", "<|assistant|>", "<|system|>")

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    f"{{%- if message['role'] == 'assistant' -%}}{{{{ '{END}' }}}}{{%- endif -%}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)

_PIECES = (
    r"(?:^|(?<=\n))[^\n]+ \(\d{4}\)(?=\n|$)",  # a whole line, such as "Alien (1979)"
    r"\n",
    r" ?\(\d{4}\)",
    r" ?\p{L}+",
    r" ?\p{N}+",
    r" ?[^\s\p{L}\p{N}]+",
    r"[^\S\n]+",
)
"""The longest texts that one token may stand for, as patterns; the first that matches is taken."""
_MAX_POSITIONS = 4096


def make_tiny(texts: Iterable[str], model: Model, seed: int) -> tuple[Any, Any]:
    """A new model and a tokenizer trained on `texts`; the same seed gives the same weights."""
    tokenizer = _train_tokenizer(texts, model.vocabulary)
    config = _tiny_config(
        model,
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(config), tokenizer


def tiny_without_weights(model: Model) -> Any:
    """The model on device `meta`: its modules without weights, for checks before there is data."""
    with torch.device("meta"):
        return Qwen2ForCausalLM(_tiny_config(model, vocab_size=model.vocabulary))


def _tiny_config(model: Model, **tokens: int) -> Qwen2Config:
    return Qwen2Config(
        **tokens,
        hidden_size=model.hidden,
        intermediate_size=2 * model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=max(1, model.hidden // 64),
        num_key_value_heads=1,
        max_position_embeddings=_MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
    )


def _train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("|".join(_PIECES)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, END, *ROLES],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[*ROLES],
        clean_up_tokenization_spaces=False,
        model_max_length=_MAX_POSITIONS,
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
