"""Download models from the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from convrec.errors import ConfigError
from convrec.utils.hub import TIMEOUT, describe_refusal, is_unreachable

_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


def download_model(name: str) -> Path:
    """The local folder of a model on the Hub; the cached copy if the Hub cannot be reached.

    Raises ConfigError if the name is unknown, or nothing is cached.
    """
    is_reachable = True
    try:
        HfApi().model_info(name, timeout=TIMEOUT)
    except Exception as error:
        is_reachable = not is_unreachable(error)
    try:
        path = snapshot_download(name, allow_patterns=_FILES, local_files_only=not is_reachable)
    except Exception as error:
        raise ConfigError(
            f"model.base={name} is neither `tiny` nor a folder, and cannot be downloaded from the "
            f"Hugging Face Hub: {describe_refusal(error, name)}, or set model.base to a folder"
        ) from None
    return Path(path)


def is_cached(name: str) -> bool:
    """Whether the Hub's cache has the configuration of a model; False for what is no Hub name."""
    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False
