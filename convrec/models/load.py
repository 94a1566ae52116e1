"""Load, adapt and save the student: `tiny`, a packaged model, a folder, or a model on the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from convrec.config import Lora, Model, resolve_path
from convrec.errors import InputError
from convrec.models.gguf import gguf_folder, is_gguf_package
from convrec.models.hub import download_model
from convrec.models.identity import base_error
from convrec.models.progress_bars import hide_progress_bars
from convrec.models.tiny import make_tiny
from convrec.utils.error_text import first_line

_PLAIN_TOKENIZER_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes that transformers names for a tokenizer defined by its tokenizer.json alone."""


class Student(NamedTuple):
    """A causal language model in float32 and its tokenizer, both from transformers."""

    model: Any
    tokenizer: Any


def load_student(base: str, *, config: Model, texts: Iterable[str] = (), seed: int = 0) -> Student:
    """The model that `model.base` names; `tiny` is created from `texts` and `seed`.

    Raises ConfigError for a name that is neither a folder nor on the Hub, InputError for a folder
    without a model.
    """
    if base == "tiny":
        return Student(*make_tiny(texts, config, seed))
    if is_gguf_package(base):
        return load_checkpoint(gguf_folder(base))
    if message := base_error(base):
        raise InputError(message)
    folder = resolve_path(base, "model.base")
    return load_checkpoint(folder if folder.is_dir() else download_model(base))


def load_checkpoint(folder: Path) -> Student:
    """The model of a transformers or PEFT folder; an adapter is merged into its base.

    Reads safetensors only. Raises InputError if the folder has no such model.
    """
    if (folder / "adapter_config.json").is_file():
        return _load_adapter(folder)
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no model: neither config.json nor adapter_config.json is in it"
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} holds no *.safetensors; other weight files can run code when they are "
            "loaded and are refused: save the model again with save_pretrained of a current "
            "transformers"
        )
    try:
        with hide_progress_bars():
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True
            )
            return Student(model, load_tokenizer(folder))
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"the model in {folder} cannot be read ({first_line(error)})") from None


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, with the ids that it was saved with.

    AutoTokenizer splits words as the model type does, even if tokenizer.json defines otherwise. A
    tokenizer that was saved as a plain tokenizer.json is therefore loaded as exactly that.
    """
    settings = folder / "tokenizer_config.json"
    is_plain = settings.is_file() and (
        json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class")
        in _PLAIN_TOKENIZER_CLASSES
    )
    tokenizer = (PreTrainedTokenizerFast if is_plain else AutoTokenizer).from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _load_adapter(folder: Path) -> Student:
    from peft import PeftConfig, PeftModel

    base = str(PeftConfig.from_pretrained(folder).base_model_name_or_path)
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} holds an adapter without adapter_model.safetensors")
    student = load_student(base, config=Model(base=base))
    merged = PeftModel.from_pretrained(student.model, folder).merge_and_unload()
    has_tokenizer = (folder / "tokenizer_config.json").is_file()
    return Student(merged, load_tokenizer(folder) if has_tokenizer else student.tokenizer)


def save_student(student: Student, folder: Path) -> Any:
    """Write weights (safetensors, adapters merged) and tokenizer; returns the merged model."""
    model = student.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    with hide_progress_bars():
        model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    return model


def lora_config(lora: Lora) -> Any:
    """The PEFT configuration of adapters, or None if all weights are trained."""
    if lora.rank == 0:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
