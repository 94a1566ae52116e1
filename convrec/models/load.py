"""Load, adapt and save the student: `tiny`, a packaged model, a folder, or a model on the Hub."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from convrec.config import Model, resolve_path
from convrec.errors import InputError
from convrec.models.chat_template import fix_template_date
from convrec.models.files import (
    ADAPTER_CONFIG,
    adapter_weights,
    model_config,
    read_json_if_any,
    tensor_names,
    weight_files,
)
from convrec.models.gguf import gguf_folder, is_gguf_package
from convrec.models.hub import download_model
from convrec.models.identity import base_error
from convrec.models.load_report import (
    adapter_base,
    check_architecture,
    drop_own_code,
    load_report_problem,
    refuse_unreadable,
)
from convrec.models.progress_bars import hide_progress_bars, hide_warnings
from convrec.models.tiny import make_tiny
from convrec.utils.file_content import lfs_problem

_PLAIN_TOKENIZER_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes that transformers names for a tokenizer defined by its tokenizer.json alone."""

_TOKENIZER_FILES = ("tokenizer*.json", "*.model", "vocab.*", "tekken.json")


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
    return load_checkpoint(student_folder(base))


def student_folder(base: str) -> Path:
    """The folder of the model that `model.base` names, after a download or conversion if needed.

    Raises ConfigError for a name that is not on the Hub, InputError for a path that is no folder.
    """
    if is_gguf_package(base):
        return gguf_folder(base)
    if message := base_error(base):
        raise InputError(message)
    folder = resolve_path(base, "model.base")
    return folder if folder.is_dir() else download_model(base)


def load_checkpoint(folder: Path) -> Student:
    """The model of a transformers or PEFT folder; an adapter is merged into its base.

    Reads safetensors only and runs no code of the folder. Raises InputError if the folder has no
    such model, or not all of its weights.
    """
    return Student(load_model(folder), load_tokenizer(tokenizer_folder(folder)))


def load_model(folder: Path) -> Any:
    """The model in a folder, an adapter merged into its base. Raises as `load_checkpoint`."""
    return load_with_report(folder)[0]


def load_with_report(folder: Path, *, device_map: str | None = None) -> tuple[Any, list[str]]:
    """The model in a folder, and the names of weights there that it does not use.

    On device `meta`, no weights are read. Raises InputError as `load_checkpoint`.
    """
    if is_adapter(folder):
        return _load_adapter(folder, device_map)
    config = model_config(folder)
    tensor_names(weight_files(folder))
    check_architecture(folder, config)
    with hide_warnings(), refuse_unreadable(folder, "model"):
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            device_map=device_map,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    if problem := load_report_problem(folder, model, report):
        raise InputError(problem)
    drop_own_code(model.config)
    return model, sorted(report["unexpected_keys"])


def convert_weights(model: Any, dtype: torch.dtype) -> None:
    """Convert all weights of a model. Buffers, such as rotary frequencies, keep their type."""
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter (PEFT) rather than a whole model."""
    return (folder / ADAPTER_CONFIG).is_file()


def tokenizer_folder(folder: Path) -> Path:
    """The folder with the tokenizer of a model folder: that of the base for a bare adapter."""
    if not is_adapter(folder) or (folder / "tokenizer_config.json").is_file():
        return folder
    return tokenizer_folder(student_folder(adapter_base(folder)))


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, with the ids that it was saved with.

    AutoTokenizer splits words as the model type does, even if tokenizer.json defines otherwise. A
    tokenizer that was saved as a plain tokenizer.json is therefore loaded as exactly that. A chat
    template that writes today's date gets a constant one, which is saved with a checkpoint.
    """
    files = [path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)]
    if not files:
        raise InputError(
            f"{folder} holds no tokenizer; copy tokenizer.json and tokenizer_config.json of the "
            "model into it"
        )
    for file in [*files, *folder.glob("*.jinja")]:
        if problem := lfs_problem(file):
            raise InputError(problem)
    values = read_json_if_any(folder / "tokenizer_config.json")
    is_plain = values.get("tokenizer_class") in _PLAIN_TOKENIZER_CLASSES
    loader = PreTrainedTokenizerFast if is_plain else AutoTokenizer
    with refuse_unreadable(folder, "tokenizer"):
        tokenizer = loader.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.eos_token is None:
        tokenizer.eos_token = _configured_eos(folder, tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    fix_template_date(tokenizer)
    return tokenizer


def _configured_eos(folder: Path, tokenizer: Any) -> str | None:
    """The end-of-sequence token that the model names where its tokenizer names none."""
    for name in ("generation_config.json", "config.json"):
        ids = read_json_if_any(folder / name).get("eos_token_id")
        first = ids[0] if isinstance(ids, list) and ids else ids
        if isinstance(first, int) and 0 <= first < len(tokenizer):
            return str(tokenizer.convert_ids_to_tokens(first))
    return None


def _load_adapter(folder: Path, device_map: str | None) -> tuple[Any, list[str]]:
    from peft import PeftModel

    tensor_names([adapter_weights(folder)])
    base, unused = load_with_report(student_folder(adapter_base(folder)), device_map=device_map)
    with warnings.catch_warnings(), refuse_unreadable(folder, "adapter"):
        warnings.filterwarnings("error", message="Found missing adapter keys")
        adapted: Any = PeftModel.from_pretrained(
            base, folder, trust_remote_code=False, low_cpu_mem_usage=device_map == "meta"
        )
        if not hasattr(adapted.base_model, "merge_and_unload"):
            raise InputError(
                f"the adapter in {folder} cannot be merged into its base; use a LoRA adapter, or "
                "a whole model"
            )
        return adapted.merge_and_unload(), unused


def save_student(student: Student, folder: Path) -> Any:
    """Write weights (safetensors, adapters merged) and tokenizer; returns the merged model."""
    model = student.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    with hide_progress_bars():
        model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    return model
