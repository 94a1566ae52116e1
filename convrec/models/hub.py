"""Download models from the Hugging Face Hub."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

# Its HTTP client is httpx in one version and httpx2 in another; both derive from this error.
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

from convrec.errors import ConfigError

_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


def download_model(name: str) -> Path:
    """The local folder of a model on the Hub; the cached copy if the Hub cannot be reached.

    Raises ConfigError if the name is unknown, or nothing is cached.
    """
    cached_only = True
    try:
        with suppress(OSError, HTTPError):
            HfApi().model_info(name, timeout=10)
            cached_only = False
        return Path(snapshot_download(name, allow_patterns=_FILES, local_files_only=cached_only))
    except (OSError, HTTPError, ValueError) as error:
        raise ConfigError(
            f"model.base={name} is neither `tiny` nor a folder, and cannot be downloaded from the "
            f"Hugging Face Hub ({type(error).__name__}); check the name and the network, or "
            "download the model and set model.base to its folder"
        ) from None
