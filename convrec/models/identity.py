"""What identifies a student in an artifact key: its base model and its prompt settings."""

from __future__ import annotations

from typing import Any

from convrec.artifacts import file_digest
from convrec.config import Config, resolve_path
from convrec.models.gguf import gguf_file, is_gguf_package


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
    """The digest of a base model that is a file or folder; empty for `tiny` and Hub names."""
    if is_gguf_package(config.model.base):
        return {"base": file_digest(gguf_file(config.model.base))}
    folder = resolve_path(config.model.base, "model.base")
    if config.model.base == "tiny" or not folder.is_dir():
        return {}
    return {"base": file_digest(folder)}
