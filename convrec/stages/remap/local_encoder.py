"""A sentence-transformers model on this machine, as the optional extra `st` brings it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convrec.config import resolve_path
from convrec.errors import ConfigError
from convrec.utils.error_text import first_line

if TYPE_CHECKING:
    import numpy as np

BATCH = 64
"""Texts that go through the model at once."""


class Encoder:
    """Reads texts with the model in a folder or of a Hub name.

    Weights are read from safetensors alone, and no code of a model's repository is run. Raises
    ConfigError where the extra is not installed or the model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            library: Any = import_module("sentence_transformers")
        except ImportError:
            raise ConfigError(
                "remap.similarity=sentence-transformers needs the extra `st`, which is not "
                "installed; install it with `.venv/bin/pip install -c constraints.txt -e '.[st]'`, "
                "or set remap.similarity=tfidf"
            ) from None
        folder = resolve_path(model, "remap.model")
        try:
            self._model = library.SentenceTransformer(
                str(folder) if folder.is_dir() else model,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"remap.model={model!r} cannot be loaded ({first_line(error)}); give a "
                "folder that holds a sentence-transformers model, or a Hub name while online"
            ) from None

    def vectors(self, texts: list[str]) -> np.ndarray:
        """(texts, dimensions) float32."""
        vectors: np.ndarray = self._model.encode(
            texts, batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False
        )
        return vectors
