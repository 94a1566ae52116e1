"""A local sentence-transformers model (the optional extra `st`)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from convrec.config import resolve_path
from convrec.errors import ConfigError
from convrec.stages.remap.texts import OMISSION
from convrec.utils.both_ends import both_ends
from convrec.utils.error_text import first_line

BATCH_SIZE = 64
"""Texts per forward pass."""

SPARE_TOKENS = 8
"""Tokens of the model's limit for its special tokens, and for the mark of what is left out."""


class LocalEncoder:
    """Embeds texts with the model in a folder, or with a Hub name.

    Loads safetensors weights only and runs no code from the model's repository. Raises ConfigError
    if the extra is not installed or the model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            library: Any = import_module("sentence_transformers")
        except ImportError:
            raise ConfigError(
                "remap.similarity=sentence-transformers needs the extra `st`, which is not "
                "installed. Install it with `.venv/bin/pip install -c constraints.txt -e '.[st]'`, "
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
                f"remap.model={model!r} cannot be loaded ({first_line(error)}). Set it to a folder "
                "with a sentence-transformers model, or to a Hub name while online"
            ) from None

    def vectors(self, texts: list[str]) -> np.ndarray:
        """(texts, dimensions) float32. Of a text that is too long, both ends are read."""
        vectors: np.ndarray = self._model.encode(
            list(map(self.shorten, texts)),
            batch_size=BATCH_SIZE,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return vectors

    def shorten(self, text: str) -> str:
        """A text of at most as many tokens as the model reads; its middle is left out."""
        limit, tokenizer = self._model.max_seq_length, self._model.tokenizer
        room = limit - SPARE_TOKENS if limit and tokenizer.is_fast else 0
        if room < 2 or len(text.encode()) <= room:  # a token has at least one byte
            return text
        spans = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )["offset_mapping"]
        if len(spans) <= room:
            return text
        start, end = spans[(room + 1) // 2 - 1][1], len(text) - spans[-(room // 2)][0]
        return OMISSION.join(both_ends(text, start, end))
