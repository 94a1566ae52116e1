"""Embeddings of the simulated embedder in the format of the OpenAI API: a hashed bag of words.

Texts that share words have similar vectors. The vector of a text does not depend on the request.
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

from convrec.demo.completion import count_tokens
from convrec.errors import InputError

EMBEDDERS = ("demo-embedder",)
"""The models that `embed` simulates."""

DIMENSIONS = 256


def embed(body: Mapping[str, Any]) -> dict[str, Any]:
    """The response to a `/v1/embeddings` request body. Raises InputError for an invalid input."""
    value = body.get("input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise InputError("`input` must be a text or a list of texts")
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise InputError("`input` holds something that is no text, or an empty one")
    as_base64 = body.get("encoding_format") == "base64"
    tokens = count_tokens(texts)
    return {
        "object": "list",
        "model": body["model"],
        "data": [
            {"object": "embedding", "index": n, "embedding": _encode(text_vector(text), as_base64)}
            for n, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def text_vector(text: str) -> np.ndarray:
    """The unit vector of a text, (DIMENSIONS,) float32."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    for word, count in Counter(re.findall(r"\w+", text.lower())).items():
        index, sign = _hash_word(word)
        vector[index] += sign * (1 + math.log(count))
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


@lru_cache(maxsize=50_000)
def _hash_word(word: str) -> tuple[int, float]:
    hashed = sha256(word.encode()).digest()
    return int.from_bytes(hashed[:4]) % DIMENSIONS, 1.0 if hashed[4] % 2 else -1.0


def _encode(vector: np.ndarray, as_base64: bool) -> str | list[float]:
    if as_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
