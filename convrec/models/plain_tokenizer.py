"""A model folder whose tokenizer `AutoTokenizer` loads as it was saved.

For some model types transformers ignores the saved tokenizer class: of a Qwen2 model it loads
Qwen's own splitting of words, whatever tokenizer.json says. Such a model is written as Llama, with
the same weights: Llama with biases is Qwen2 plus a bias after attention, which is zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.models.files import read_json_if_any
from convrec.models.load import load_tokenizer

PROBE = "Loved Heat (1995) & “Amélie”; it's 12 Angry Men I'd like\n2. Up (2009)"
"""Text that AutoTokenizer splits differently from a tokenizer with its own word splitting."""

_KEPT = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "hidden_act"),
    *("num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rms_norm_eps"),
    *("initializer_range", "rope_parameters", "tie_word_embeddings", "attention_dropout", "dtype"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "use_cache"),
)
"""Settings that mean the same in both architectures."""


def auto_tokenizer_agrees(folder: Path) -> bool:
    """Whether AutoTokenizer, which vLLM uses too, returns the ids that the model was trained on."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").is_file():
        return True
    try:
        auto = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception:  # a tokenizer with code of its own, or one that only its own class reads
        return False
    return bool(auto(PROBE).input_ids == load_tokenizer(folder)(PROBE).input_ids)


def make_auto_tokenizer_agree(folder: Path) -> bool:
    """Rewrite a Qwen2 model as Llama if AutoTokenizer would misread its tokenizer.

    Returns whether AutoTokenizer agrees now. Other models, and weights in several files, stay as
    they are.
    """
    if auto_tokenizer_agrees(folder):
        return True
    config = read_json_if_any(folder / "config.json")
    is_qwen2 = config.get("architectures") == ["Qwen2ForCausalLM"]
    weights = folder / "model.safetensors"
    if not is_qwen2 or config.get("use_sliding_window") or not weights.is_file():
        return False
    _write_as_llama(folder, weights, config)
    return auto_tokenizer_agrees(folder)


def _write_as_llama(folder: Path, file: Path, config: dict[str, Any]) -> None:
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import LlamaConfig

    weights = load_file(file)
    for name, weight in list(weights.items()):
        if name.endswith(".self_attn.o_proj.weight"):
            bias = torch.zeros(len(weight), dtype=weight.dtype)
            weights[f"{name.removesuffix('weight')}bias"] = bias
    save_file(weights, file, metadata={"format": "pt"})
    kept = {name: config[name] for name in _KEPT if name in config}
    llama = LlamaConfig(**kept, attention_bias=True, architectures=["LlamaForCausalLM"])
    llama.save_pretrained(folder)
