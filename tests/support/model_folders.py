"""Tiny model folders of several families, and ways to change what a folder says."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from convrec.config import Model
from convrec.models.progress_bars import hide_progress_bars
from convrec.models.tiny import make_tiny
from tests.support.micro import TEXTS

Weights = dict[str, torch.Tensor]

POSITIONS = 256

COMMON = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
SLIDING = {"layer_types": ["sliding_attention", "full_attention"]}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": GROUPED,
    "gpt2": {"tie_word_embeddings": True},
    "gemma2": {**GROUPED, **SLIDING, "sliding_window": 4096},
    "gemma3_text": {**GROUPED, **SLIDING, "sliding_window": 4096},
    "phi3": {"num_key_value_heads": 2, "sliding_window": None},
    "gpt_neox": {},
    "bloom": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "mistral": {**GROUPED, "sliding_window": None},
    "lfm2": {**GROUPED, "layer_types": ["conv", "full_attention"], "block_multiple_of": 8},
    "falcon_h1": {**GROUPED, **MAMBA, "mamba_d_ssm": 32, "mamba_chunk_size": 8},
    "mamba": {"state_size": 4, "time_step_rank": 4},
    "rwkv": {"attention_hidden_size": 32, "context_length": POSITIONS},
    "mpt": {"max_seq_len": POSITIONS},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "bert": {"is_decoder": False},
}
"""Settings of each family beyond COMMON."""


@cache
def tokenizer_files() -> dict[str, bytes]:
    """The files of a tokenizer of fewer than 300 tokens, with a chat template."""
    import tempfile

    tokenizer = make_tiny(TEXTS, Model(vocabulary=300, hidden=16, layers=1), seed=0)[1]
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def save_model(folder: Path, family: str = "llama", **settings: Any) -> Path:
    """A random model of a family with its tokenizer, in a new folder."""
    vocabulary = len(json.loads(tokenizer_files()["tokenizer.json"])["model"]["vocab"])
    names = CONFIG_MAPPING[family].attribute_map
    values = {"vocab_size": vocabulary, **COMMON, **FAMILIES[family], **settings}
    config = CONFIG_MAPPING[family](**{names.get(key, key): v for key, v in values.items()})
    with torch.random.fork_rng(devices=[]), hide_progress_bars():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, trust_remote_code=False).save_pretrained(folder)
    for name, content in tokenizer_files().items():
        (folder / name).write_bytes(content)
    return folder


def change_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None removes a key."""
    data = json.loads(path.read_text()) if path.exists() else {}
    data |= values
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def change_weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    """Write the weights of a folder again, after a change."""
    path = folder / "model.safetensors"
    changed = {name: weight.clone() for name, weight in change(load_file(path)).items()}
    save_file(changed, path, metadata={"format": "pt"})


def rename_weights(folder: Path, rename: Callable[[str], str]) -> None:
    """Give the weights of a folder other names."""
    change_weights(folder, lambda weights: {rename(name): w for name, w in weights.items()})


def set_template(folder: Path, template: str | None) -> None:
    """Set the chat template; None removes it."""
    path = folder / "chat_template.jinja"
    path.unlink(missing_ok=True)
    if template is not None:
        path.write_text(template)
