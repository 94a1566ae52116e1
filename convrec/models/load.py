"""Loading the student: the tiny model, a packaged one, a folder, or a name on the Hub."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError

from convrec.config import Model, resolve_path
from convrec.errors import ConfigError, InputError
from convrec.models.gguf import gguf_folder, is_gguf_package
from convrec.models.hub import quiet
from convrec.models.identity import missing_base

TINY = "tiny"

_OWN_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Names under which transformers saves a tokenizer that is nothing but its tokenizer.json."""


_MODEL_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


class Student(NamedTuple):
    """A causal language model in float32 and its tokenizer, both from transformers."""

    model: Any
    tokenizer: Any


def load_student(base: str, *, config: Model, texts: Iterable[str] = (), seed: int = 0) -> Student:
    """The student that `model.base` names; `texts` and `seed` make the fresh `tiny` one.

    Raises ConfigError for a name that neither is a folder nor can be had from the Hub, InputError
    for a folder that holds no model.
    """
    if base == TINY:
        from convrec.models.tiny import make_tiny

        return Student(*make_tiny(texts, config, seed))
    if is_gguf_package(base):
        return load_checkpoint(gguf_folder(base))
    if wrong := missing_base(base):
        raise InputError(wrong)
    folder = resolve_path(base, "model.base")
    return load_checkpoint(folder if folder.is_dir() else _download(base))


def load_checkpoint(folder: Path) -> Student:
    """The model of a transformers or PEFT folder; an adapter is merged into its base.

    Only safetensors are read. Raises InputError where the folder holds no such model.
    """
    if (folder / "adapter_config.json").is_file():
        return _load_adapter(folder)
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no model: there is neither config.json nor adapter_config.json in it"
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} holds no *.safetensors; other weights can run code when they are loaded and "
            "are refused: save the model again with save_pretrained of a current transformers"
        )
    try:
        return _load(folder)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"the model in {folder} cannot be read ({_first_line(error)})") from None


def load_tokenizer(source: Path) -> Any:
    """The tokenizer of a folder, with the ids that it was saved with.

    AutoTokenizer goes by the model type beside it, and gives a Qwen2 checkpoint the word splitting
    of Qwen2 even where tokenizer.json has its own. So a tokenizer that was saved as nothing but
    its tokenizer.json is read as just that.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    saved = source / "tokenizer_config.json"
    own = saved.is_file() and (
        json.loads(saved.read_text(encoding="utf-8")).get("tokenizer_class") in _OWN_CLASSES
    )
    tokenizer = (PreTrainedTokenizerFast if own else AutoTokenizer).from_pretrained(source)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt."""


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next tensor instead of giving it back.

    A training step frees and takes the same hundred-megabyte blocks again and again; fetched anew
    each time, the pages alone cost a quarter of a Rank-GRPO step on CPU. Does nothing where the C
    library has no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


SMALL = 20_000_000
"""Parameters below which one thread samples as fast as two, and bf16 costs more than it saves."""


def is_small(model: Any) -> bool:
    """Whether per-operation overhead, not arithmetic, is what a model's small steps wait for."""
    return int(model.num_parameters()) < SMALL


def has_bf16() -> bool:
    """Whether the processor that trains computes in bf16 (AVX512-BF16, AMX, or a GPU with it)."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    cpu: Any = torch.cpu
    return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()


def _download(name: str) -> Path:
    """The local folder of a model on the Hub; what is cached serves where there is no network."""
    from huggingface_hub import HfApi, snapshot_download

    # Its HTTP client is httpx in one version and httpx2 in another; the base error is told here.
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        HfApi().model_info(name, timeout=10)
        cached_only = False
    except (OSError, HTTPError):
        cached_only = True
    except ValueError as error:
        raise _unknown(name, error) from None
    try:
        return Path(
            snapshot_download(name, allow_patterns=_MODEL_FILES, local_files_only=cached_only)
        )
    except (OSError, HTTPError, ValueError) as error:
        raise _unknown(name, error) from None


def _unknown(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"model.base={name} is neither `tiny` nor a folder, and cannot be had from the Hugging "
        f"Face Hub ({type(error).__name__}); check the name and the network, or download the "
        "model and give its folder"
    )


def _load(source: Path) -> Student:
    from transformers import AutoModelForCausalLM

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.float32, use_safetensors=True
        )
        return Student(model, load_tokenizer(source))


def _load_adapter(folder: Path) -> Student:
    from peft import PeftConfig, PeftModel

    base = str(PeftConfig.from_pretrained(folder).base_model_name_or_path)
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} holds an adapter without adapter_model.safetensors")
    student = load_student(base, config=Model(base=base))
    merged = PeftModel.from_pretrained(student.model, folder).merge_and_unload()
    own = (folder / "tokenizer_config.json").is_file()
    return Student(merged, load_tokenizer(folder) if own else student.tokenizer)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).strip().rstrip(".")
