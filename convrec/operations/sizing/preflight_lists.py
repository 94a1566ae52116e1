"""Whether a list of the catalog's lines fits into `model.max_completion_tokens`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from convrec.config import Config
from convrec.errors import ConfigError, ConvrecError
from convrec.operations.sizing.finding import MISSING, OK, Finding
from convrec.utils.warn_once import warn_once

_SHORTEST_LINE = 2
"""Tokens of the shortest possible line: one, and its end."""


class ListTokens(NamedTuple):
    """Tokens of a list of `list_length` catalog lines with its end.

    Attributes:
        shortest: Of the shortest lines; a lower bound where model or catalog is not here.
        average: Of average lines; 0 if unknown.
    """

    shortest: int
    average: int = 0


def check_list_length(config: Config) -> list[Finding]:
    """A finding on the tokens of a list, measured where model and catalog are on this machine.

    Raises ConfigError if not even a list of the shortest lines fits. Lists that the data bring
    (`recommend.source=provided`) may be shorter, so they are not refused.
    """
    n, limit = config.list_length, config.model.max_completion_tokens
    tokens = list_tokens(config)
    if tokens.shortest > limit and config.recommend.source != "provided":
        raise ConfigError(
            f"a list of {n} lines needs at least {tokens.shortest} tokens, but "
            f"model.max_completion_tokens={limit}; raise it, or lower list_length"
        )
    if not tokens.average:
        return []
    text = f"a list of {n} average catalog lines has {tokens.average} tokens"
    if tokens.average > limit:
        cut = f"but model.max_completion_tokens={limit}, so most would be cut"
        return [Finding("lists", MISSING, f"room: {text}, {cut}")]
    return [Finding("lists", OK, f"{text}, at most {limit}")]


def refuse_cut_lists(config: Config) -> None:
    """Raise ConfigError if no list fits; warn if most would be cut."""
    for finding in check_list_length(config):
        if finding.state == MISSING:
            warn_once(f"{finding.text.removeprefix('room: ')}; raise it, or lower list_length")


def list_tokens(config: Config) -> ListTokens:
    """The tokens of a list, by the model's tokenizer and the lines of the catalog."""
    n = config.list_length
    with suppress(ConvrecError, OSError):
        if tokenizer := _tokenizer(config):
            lines = list(_catalog_lines(config))
            lengths = _count_tokens(tokenizer, [line + "\n" for line in lines])
            if len(lines) >= n:
                shortest = sorted(range(len(lines)), key=lengths.__getitem__)[:n]
                text = "\n".join(lines[i] for i in shortest)
                end = 1
                return ListTokens(
                    _count_tokens(tokenizer, [text])[0] + end,
                    round(n * sum(lengths) / len(lengths)),
                )
    return ListTokens(n * _SHORTEST_LINE)


def _count_tokens(tokenizer: Any, texts: list[str]) -> list[int]:
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _tokenizer(config: Config) -> Any:
    """The tokenizer of a model that is on this machine, else None."""
    from convrec.models.gguf import is_gguf_package
    from convrec.models.hub import is_cached
    from convrec.models.identity import base_folder
    from convrec.models.load import load_tokenizer, student_folder, tokenizer_folder

    base = config.model.base
    if base == "tiny":  # its tokenizer is made from the data
        return None
    is_here = is_gguf_package(base) or base_folder(config) is not None or is_cached(base)
    return load_tokenizer(tokenizer_folder(student_folder(base))) if is_here else None


def _catalog_lines(config: Config) -> Iterator[str]:
    """The lines of a list that the catalog's items would have."""
    from convrec.stages.ingest.read import read_catalog

    items, _ = read_catalog(config)
    form = config.line_format.for_titles(items["title"])
    for title, year in items.select("title", "year").iter_rows():
        yield form.format(title, year)
