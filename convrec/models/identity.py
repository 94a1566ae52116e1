"""What names a student in an artifact's key: its base model and the settings of its prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import file_digest
from convrec.config import resolve_path

if TYPE_CHECKING:
    from convrec.config import Config


def missing_base(base: str) -> str:
    """What is wrong with a `model.base` that is a path without a folder; else an empty text."""
    is_path = not base or base.startswith((".", "/", "~")) or base.count("/") > 1
    if not is_path or (base and resolve_path(base, "model.base").is_dir()):
        return ""
    return f"model.base={base} is not a folder; give `tiny`, the folder of a model, or a Hub name"


def prompt_settings(config: Config) -> dict[str, Any]:
    """What the student's prompt depends on besides the conversation, for an artifact's key."""
    settings: dict[str, Any] = {"prompt": config.model.prompt}
    if config.model.prompt == "instruct":
        settings |= {
            "domain": config.domain.noun,
            "list_length": config.list_length,
            "years": config.recommend.years,
            **config.domain.changed("plural", "line", "line_without_year", "student"),
        }
    return settings


def base_digest(config: Config) -> dict[str, str]:
    """The digest of the base model where it is a file or folder; a Hub name stands for itself."""
    from convrec.models.gguf import gguf_file, is_gguf_package

    if is_gguf_package(config.model.base):
        return {"base": file_digest(gguf_file(config.model.base))}
    folder = resolve_path(config.model.base, "model.base")
    if config.model.base == "tiny" or not folder.is_dir():
        return {}
    return {"base": file_digest(folder)}
