"""Whether a list of the catalog's lines fits into `model.max_completion_tokens`."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Any

from convrec.config import Config
from convrec.errors import ConfigError, ConvrecError
from convrec.operations.sizing.finding import MISSING, OK, Finding

_LINES = 2000
"""Lines of the catalog that are tokenized."""

_SHORTEST_LINE = 2
"""Tokens of the shortest possible line: one, and its end."""


def check_list_length(config: Config) -> list[Finding]:
    """A finding on the tokens of a list, measured where model and catalog are on this machine.

    Raises ConfigError if not even a list of the shortest lines fits.
    """
    lengths = _line_lengths(config)
    n, limit = config.list_length, config.model.max_completion_tokens
    shortest = sum(sorted(lengths)[:n]) if len(lengths) >= n else n * _SHORTEST_LINE
    if shortest > limit:
        raise ConfigError(
            f"a list of {n} lines needs at least {shortest} tokens, but "
            f"model.max_completion_tokens={limit}; raise it, or lower list_length"
        )
    if not lengths:
        return []
    typical = round(n * sum(lengths) / len(lengths))
    text = f"a list of {n} average catalog lines has {typical} tokens"
    if typical > limit:
        return [
            Finding(
                "lists",
                MISSING,
                f"room: {text}, but model.max_completion_tokens={limit}, so most would be cut",
            )
        ]
    return [Finding("lists", OK, f"{text}, at most {limit}")]


def _line_lengths(config: Config) -> list[int]:
    """Tokens of each catalog line and its end; empty if model or catalog is not here."""
    with suppress(ConvrecError, OSError):
        if tokenizer := _tokenizer(config):
            lines = list(islice(_catalog_lines(config), _LINES))
            return [len(ids) for ids in tokenizer(lines, add_special_tokens=False)["input_ids"]]
    return []


def _tokenizer(config: Config) -> Any:
    """The tokenizer of a model in a folder, else None."""
    from convrec.models.identity import base_folder
    from convrec.models.load import load_tokenizer, tokenizer_folder

    folder = base_folder(config)
    return load_tokenizer(tokenizer_folder(folder)) if folder else None


def _catalog_lines(config: Config) -> Any:
    """The lines of a list that the catalog's items would have, each with its end."""
    from convrec.stages.ingest.read import read_catalog

    items, _ = read_catalog(config)
    for title, year in items.select("title", "year").iter_rows():
        yield config.line_format.format(title, year) + "\n"
