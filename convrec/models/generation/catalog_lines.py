"""The lines of a catalog in the tokens that they have inside a list, and which of them are seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from convrec.errors import InputError
from convrec.metrics.relevance import TitleAndYear
from convrec.models.generation.trie import Trie, unique_lines
from convrec.titles.index import YEAR_TOLERANCE
from convrec.titles.line_format import DEFAULT_FORMAT, LineFormat
from convrec.titles.normalize import exact_key

_PRECEDING_LINE = "A\n"
"""Context in which a line is tokenized, like the line before it in a list."""

TokenLists = list[list[int]]


class LineForms(NamedTuple):
    """The tokens of each line by its rank; `first` and `inside` end with a newline, else EOS."""

    first: TokenLists
    inside: TokenLists
    last: TokenLists
    only: TokenLists

    @staticmethod
    def by_rank(n: int) -> list[int]:
        """The index of the form of each of `n` lines."""
        return [3] if n == 1 else [0, *[1] * (n - 2), 2]


def tokenize_lines(tokenizer: Any, lines: Sequence[str]) -> LineForms:
    r"""Token ids of each line inside a list.

    Lines are tokenized in context, so tokens that span the end of a line, such as ")\n" in Qwen's
    vocabulary, are those that the model was trained on. Some tokenizers mark the first line.
    """

    def encode(texts: list[str]) -> TokenLists:
        ids: TokenLists = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return ids

    preceding = encode([_PRECEDING_LINE])[0]

    def first_and_later(end: str) -> tuple[TokenLists, TokenLists]:
        alone = encode([f"{line}{end}" for line in lines])
        in_context = encode([f"{_PRECEDING_LINE}{line}{end}" for line in lines])
        later = [
            ids[len(preceding) :] if ids[: len(preceding)] == preceding else plain
            for ids, plain in zip(in_context, alone, strict=True)
        ]
        return alone, later

    def with_eos(tokens: TokenLists) -> TokenLists:
        return [[*ids, tokenizer.eos_token_id] for ids in tokens]

    first, inside = first_and_later("\n")
    only, last = first_and_later("")
    return LineForms(first, inside, with_eos(last), with_eos(only))


class CatalogLines:
    """The lines that a list can consist of, as a trie of one tokenizer's tokens.

    Of lines with the same tokens (the tokenizer knows neither title), only the first is kept.
    Building the trie is slow; build it once per catalog.
    """

    def __init__(
        self,
        tokenizer: Any,
        lines: Iterable[str],
        line_format: LineFormat = DEFAULT_FORMAT,
    ) -> None:
        texts = list(dict.fromkeys(lines))
        forms = tokenize_lines(tokenizer, texts)
        unique = unique_lines(forms)
        self.lines = [texts[line] for line in unique]
        self.trie = Trie([[form[line] for line in unique] for form in forms])
        self._line_format = line_format

    def max_tokens(self, n: int) -> int:
        """Upper bound on the tokens of a list of `n` lines."""
        return n * self.trie.longest

    def excluded(self, rows: Sequence[Collection[str]], n: int) -> Tensor:
        """Mark the lines in `rows[i]` as excluded from list i: (len(rows), lines) bool.

        Lines that are not in the catalog are ignored. Raises InputError if a list has fewer than
        `n` lines left.
        """
        index_of = {line: i for i, line in enumerate(self.lines)}
        excluded = torch.zeros(len(rows), len(self.lines), dtype=torch.bool)
        for row, texts in enumerate(rows):
            excluded[row, [index_of[text] for text in index_of.keys() & set(texts)]] = True
        left = int((~excluded).sum(1).min())
        if left < n:
            raise InputError(
                f"a list of {n} needs {n} unseen catalog items, but only {left} are left; ask for "
                "a shorter list or use a larger catalog"
            )
        return excluded

    def seen(self, items: Iterable[TitleAndYear]) -> set[str]:
        """The lines that name one of these titles, matched as in metrics and rewards."""
        return {
            self.lines[i]
            for title, year in items
            for i, other in self._by_key.get(exact_key(title), ())
            if year is None or other is None or abs(year - other) <= YEAR_TOLERANCE
        }

    @cached_property
    def _by_key(self) -> dict[str, list[tuple[int, int | None]]]:
        by_key: dict[str, list[tuple[int, int | None]]] = {}
        for i, line in enumerate(self.lines):
            item = self._line_format.parse(line)
            if item is not None:
                by_key.setdefault(exact_key(item.title), []).append((i, item.year))
        return by_key
