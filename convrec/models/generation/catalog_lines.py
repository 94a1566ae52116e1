"""The lines of a catalog as a tokenizer writes them inside a list, and which of them were seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from convrec.errors import InputError
from convrec.metrics.relevance import Titled
from convrec.models.generation.trie import Trie, distinct
from convrec.titles.index import YEAR_TOLERANCE
from convrec.titles.line_format import TITLE_YEAR, LineFormat
from convrec.titles.normalize import exact_key

_BEFORE = "A\n"
"""Stands before a line while it is tokenised, as another line does in a list."""

Tokens = list[list[int]]


class Forms(NamedTuple):
    """The tokens of each line by its place in a list: up to its newline, or up to the EOS."""

    first: Tokens
    inside: Tokens
    last: Tokens
    only: Tokens

    @staticmethod
    def of_ranks(n: int) -> list[int]:
        """Which form each of `n` lines has."""
        return [3] if n == 1 else [0, *[1] * (n - 2), 2]


def line_tokens(tokenizer: Any, lines: Sequence[str]) -> Forms:
    r"""Token ids of each line as it stands in a list.

    Each is tokenised behind a newline, so that tokens which span a line's end, as ")\n" in Qwen's
    vocabulary, are the ones that the model was trained on. The first line begins the answer, which
    some tokenizers mark.
    """

    def encode(texts: list[str]) -> Tokens:
        ids: Tokens = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
        return ids

    before = encode([_BEFORE])[0]

    def both(end: str) -> tuple[Tokens, Tokens]:
        alone = encode([f"{line}{end}" for line in lines])
        placed = encode([f"{_BEFORE}{line}{end}" for line in lines])
        behind = [
            ids[len(before) :] if ids[: len(before)] == before else plain
            for ids, plain in zip(placed, alone, strict=True)
        ]
        return alone, behind

    def closed(tokens: Tokens) -> Tokens:
        return [[*ids, tokenizer.eos_token_id] for ids in tokens]

    first, inside = both("\n")
    only, last = both("")
    return Forms(first, inside, closed(last), closed(only))


class CatalogLines:
    """The lines that a list may be made of, in one tokenizer's tokens; make it once a catalog.

    Lines that a tokenizer writes alike (it knows neither title) count as one, the first of them.
    """

    def __init__(self, tokenizer: Any, lines: Iterable[str], form: LineFormat = TITLE_YEAR) -> None:
        unlike = list(dict.fromkeys(lines))
        forms = line_tokens(tokenizer, unlike)
        kept = distinct(forms)
        self.lines = [unlike[line] for line in kept]
        self.trie = Trie([[form[line] for line in kept] for form in forms])
        self._form = form

    def closed(self, rows: Sequence[Collection[str]], n: int) -> Tensor:
        """Which lines each list may not write, from their texts: (len(rows), lines) bool.

        Lines that are not in the catalog are ignored. Raises InputError where fewer than `n` lines
        are left to a list.
        """
        known = {line: i for i, line in enumerate(self.lines)}
        closed = torch.zeros(len(rows), len(self.lines), dtype=torch.bool)
        for row, texts in enumerate(rows):
            for text in known.keys() & set(texts):
                closed[row, known[text]] = True
        left = int((~closed).sum(1).min())
        if left < n:
            raise InputError(
                f"a list of {n} needs {n} catalog items that were not seen, and {left} are left; "
                "ask for a shorter list or use a larger catalog"
            )
        return closed

    def seen(self, items: Iterable[Titled]) -> set[str]:
        """The lines that name one of these titles, as metrics and rewards read them."""
        return {
            self.lines[i]
            for title, year in items
            for i, other in self._by_key.get(exact_key(title), ())
            if year is None or other is None or abs(year - other) <= YEAR_TOLERANCE
        }

    @cached_property
    def _by_key(self) -> dict[str, list[tuple[int, int | None]]]:
        named: dict[str, list[tuple[int, int | None]]] = {}
        for i, line in enumerate(self.lines):
            item = self._form.parse(line)
            if item is not None:
                named.setdefault(exact_key(item.title), []).append((i, item.year))
        return named
