"""Titles as people write them, made comparable."""

from __future__ import annotations

import re
import unicodedata

_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-"})
_SPACE = re.compile(r"\s+")


def exact_key(title: str) -> str:
    """The key under which two spellings count as the same words: case, quotes and spaces aside."""
    text = unicodedata.normalize("NFKC", title).translate(_QUOTES).casefold()
    return _SPACE.sub(" ", text).strip()
