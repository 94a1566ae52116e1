"""Which dialogue a sample belongs to: turns of one dialogue are not independent of each other."""

from __future__ import annotations

import polars as pl

from convrec.config import Config

_FORMAT_PATTERNS = {"inspired": "^(.+)/", "redial": "^(.+)/"}
"""Patterns of `sample_id` in the formats whose ids are made from dialogue and turn."""


def dialogue_ids(config: Config) -> pl.Expr:
    """The dialogue of each row of `sample_id` and `context_id`; the context where none is named.

    `ingest.dialogue` is the pattern; the formats of dialogues have one of their own.
    """
    pattern = dialogue_pattern(config)
    if not pattern:
        return pl.col("context_id")
    return pl.coalesce(pl.col("sample_id").str.extract(pattern), "context_id")


def dialogue_pattern(config: Config) -> str:
    """The regular expression that finds the dialogue in `sample_id`; empty without dialogues."""
    return config.ingest.dialogue or _FORMAT_PATTERNS.get(config.ingest.format, "")


def has_dialogues(config: Config) -> bool:
    """Whether turns are grouped by dialogue."""
    return bool(dialogue_pattern(config))
