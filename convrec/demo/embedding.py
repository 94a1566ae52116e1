"""Embeddings of the embedded server, as the OpenAI API words them: a hashed bag of words.

Texts that share words are near each other, and a text has the same vector wherever it is asked for.
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np

from convrec.errors import InputError

EMBEDDERS = ("demo-embedder",)
"""The models that `embed` knows."""

DIMENSIONS = 256

_CHARACTERS_PER_TOKEN = 4


def embed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a `/v1/embeddings` request body. Raises InputError for an input that has no text."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise InputError("`input` must be a text or a list of texts")
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise InputError("`input` holds something that is no text, or an empty one")
    packed = body.get("encoding_format") == "base64"
    tokens = sum(math.ceil(len(text) / _CHARACTERS_PER_TOKEN) for text in texts)
    return {
        "object": "list",
        "model": body["model"],
        "data": [
            {"object": "embedding", "index": n, "embedding": _shown(text_vector(text), packed)}
            for n, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def text_vector(text: str) -> np.ndarray:
    """The unit vector of a text, (DIMENSIONS,) float32."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    for word, count in Counter(re.findall(r"\w+", text.lower())).items():
        place, sign = _place(word)
        vector[place] += sign * (1 + math.log(count))
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


@lru_cache(maxsize=50_000)
def _place(word: str) -> tuple[int, float]:
    mark = sha256(word.encode()).digest()
    return int.from_bytes(mark[:4]) % DIMENSIONS, 1.0 if mark[4] % 2 else -1.0


def _shown(vector: np.ndarray, packed: bool) -> str | list[float]:
    if packed:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
