"""What identifies a student in an artifact key: its base model and its prompt settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.artifacts import file_digest
from convrec.config import DEFAULT_TARGETS, Config, Lora, resolve_path
from convrec.errors import InputError
from convrec.models.files import tensor_names, weight_files
from convrec.models.gguf import gguf_file, is_gguf_package
from convrec.models.tokenizer_files import starts_with_special_token

PROMPTS = {"prompts": 2}
"""The version of how a text becomes a prompt: control tokens, truncation, the answer's start.

It is in the ids of lists of models that convrec did not train. Those of its own checkpoints have
the version of the training.
"""


def base_error(base: str) -> str:
    """The error in a `model.base` that is a path without a folder; empty if there is none."""
    is_path = not base or base.startswith((".", "/", "~")) or base.count("/") > 1
    if not is_path or (base and resolve_path(base, "model.base").is_dir()):
        return ""
    return f"model.base={base} is not a folder; set it to `tiny`, a model folder, or a Hub name"


def prompt_settings(config: Config) -> dict[str, Any]:
    """The settings that the student's prompt depends on, for an artifact key."""
    settings: dict[str, Any] = {"prompt": config.model.prompt}
    if config.model.prompt == "instruct":
        settings |= {
            "domain": config.domain.noun,
            "list_length": config.list_length,
            "years": config.recommend.years,
            **config.domain.identity_settings("plural", "line", "line_without_year", "student"),
        }
    return settings


def base_digest(config: Config) -> dict[str, str]:
    """The digest of a base model that is a file or folder; empty for Hub names.

    That of `tiny` tells its tokenizer from an earlier one.
    """
    if config.model.base == "tiny":
        return {"tokens": "lines"}
    if is_gguf_package(config.model.base):
        return {"base": file_digest(gguf_file(config.model.base))}
    folder = base_folder(config)
    if folder is None:
        return {}
    return {"base": file_digest(folder), **first_token(folder)}


def first_token(folder: Path) -> dict[str, str]:
    """That prompts start with a special token; earlier versions left it out."""
    return {"prompt": "special token first"} if starts_with_special_token(folder) else {}


def adapter_targets(config: Config, lora: Lora) -> dict[str, str]:
    """What the default of `target_modules` means for a base that does not have these modules."""
    folder = base_folder(config)
    if lora.rank == 0 or lora.target_modules != DEFAULT_TARGETS or folder is None:
        return {}
    try:
        weights = tensor_names(weight_files(folder))
    except InputError:  # such as an adapter's folder
        return {}
    names = {part for name in weights for part in name.split(".")}
    return {} if names.issuperset(DEFAULT_TARGETS) else {"adapters": "all-linear"}


def base_folder(config: Config) -> Path | None:
    """The folder that `model.base` names; None for `tiny`, a package or a Hub name."""
    base = config.model.base
    if base == "tiny" or is_gguf_package(base):
        return None
    folder = resolve_path(base, "model.base")
    return folder if folder.is_dir() else None
