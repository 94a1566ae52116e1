"""Lists of items of a catalog, all different and none named in the conversation.

    lists = CatalogLists(tokenizer, "catalog.jsonl")
    processor = lists.processor(["I loved Heat. What next?"], n=20)
    model.generate(**inputs, do_sample=False, logits_processor=[processor], ...)

A logits processor for `generate` of transformers: only tokens that continue a line of the catalog
are allowed, so a list has `n` lines of the catalog and then ends. With the prompt that the model
was trained on and greedy choice, these are the lists that were measured as `served`. To use another
catalog, write another catalog.jsonl: one JSON object a line, with item_id, title, year and line,
the item as the model writes it.

This file needs torch and transformers only. `convrec export` writes it next to the model.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessor

YEAR_TOLERANCE = 2
"""A title with a year means an item whose year differs by at most this."""

_QUOTES = str.maketrans(
    {"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-"}
)
_BEFORE = "A\n"
"""A line before the one that is tokenized, as within a list."""


class Node:
    """A place in a line: the nodes after each token, the lines below, and the line that ends."""

    def __init__(self) -> None:
        self.children: dict[int, Node] = {}
        self.below: set[int] = set()
        self.line: int | None = None


class CatalogLists:
    """The catalog in the tokens of one tokenizer. Build it once, then make processors.

    Attributes:
        items: The rows of catalog.jsonl.
        lines: The different lines of the catalog, in its order.
    """

    def __init__(self, tokenizer: Any, catalog: str | Path) -> None:
        text = Path(catalog).read_text(encoding="utf-8")
        self.items: list[dict[str, Any]] = [json.loads(row) for row in text.split("\n") if row]
        eos: int = tokenizer.eos_token_id
        self.pad: int = eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        written = list(dict.fromkeys(str(item["line"]) for item in self.items))
        forms = _tokenized(tokenizer, written, eos)
        kept = _different(forms)
        self.lines = [written[i] for i in kept]
        self._longest = max((len(form[i]) for form in forms for i in kept), default=0)
        self._roots = [_trie([form[i] for i in kept]) for form in forms]
        self._titles = [_plain(item["title"]) for item in self.items]
        self._words = {title: _words(title) for title in self._titles}
        self._by_title: dict[str, list[int]] = {}
        for number, title in enumerate(self._titles):
            self._by_title.setdefault(title.casefold(), []).append(number)

    def max_new_tokens(self, n: int) -> int:
        """Tokens that any list of `n` lines has room in."""
        return n * self._longest

    def named(self, conversation: str) -> set[int]:
        """The lines of which the conversation names every item, as positions in `lines`.

        Titles count as whole words; a title of one word needs the catalog's capital letters, and a
        year after a title selects among namesakes.
        """
        items = self._named_items(_plain(conversation))
        left = {item["line"] for number, item in enumerate(self.items) if number not in items}
        return {i for i, line in enumerate(self.lines) if line not in left}

    def processor(self, conversations: Sequence[str], n: int) -> CatalogProcessor:
        """A processor for one call of `generate` on the prompts of these conversations.

        Raises ValueError if a conversation leaves fewer than `n` lines.
        """
        named = [self.named(conversation) for conversation in conversations]
        if any(len(self.lines) - len(lines) < n for lines in named):
            raise ValueError(f"a conversation names so many items that fewer than {n} are left")
        first, inside, last, only = self._roots
        roots = [only] if n == 1 else [first, *[inside] * (n - 2), last]
        return CatalogProcessor(roots, named, pad=self.pad)

    def _named_items(self, text: str) -> set[int]:
        """Positions in `items` of the items whose title the text names."""
        words = _words(text)
        possible = [title for title, needed in self._words.items() if needed <= words]
        pattern = "|".join(map(re.escape, sorted(possible, key=len, reverse=True)))
        pattern = rf"(?<!\w)({pattern})(?!\w)(?:\s*\((\d{{4}})\))?"
        found = set()
        for match in re.finditer(pattern, text, re.IGNORECASE) if possible else ():
            for number in self._by_title.get(match[1].casefold(), ()):
                title, year = self._titles[number], self.items[number]["year"]
                if match[2] is None:
                    is_named = " " in title or match[1] == title
                else:
                    is_named = year is None or abs(year - int(match[2])) <= YEAR_TOLERANCE
                if is_named:
                    found.add(number)
        return found


class CatalogProcessor(LogitsProcessor):  # type: ignore[misc]
    """Allows only tokens that continue a line of the catalog that a list does not have yet.

    The first call sees the prompts alone, so a processor serves one call of `generate`.
    """

    def __init__(self, roots: Sequence[Node], excluded: Sequence[set[int]], *, pad: int) -> None:
        self._roots, self._excluded, self._pad = roots, excluded, pad
        self._start: int | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.Tensor:
        """The scores (rows, vocabulary), with minus infinity for tokens that are not allowed."""
        if self._start is None:
            self._start = input_ids.shape[1]
        masked = torch.full_like(scores, -torch.inf)
        samples = max(1, len(scores) // len(self._excluded))
        for row, ids in enumerate(input_ids[:, self._start :].tolist()):
            allowed = self._allowed(ids, self._excluded[row // samples])
            masked[row, allowed] = scores[row, allowed]
        return masked

    def _allowed(self, ids: Sequence[int], excluded: set[int]) -> list[int]:
        used, rank, node = set(excluded), 0, self._roots[0]
        for token in ids:
            node = node.children[token]
            if node.line is not None:
                used.add(node.line)
                rank += 1
                if rank == len(self._roots):
                    return [self._pad]
                node = self._roots[rank]
        return [token for token, child in node.children.items() if not child.below <= used]


def _tokenized(tokenizer: Any, lines: list[str], eos: int) -> list[list[list[int]]]:
    """The tokens of each line as the first, inside, last and only one of a list."""

    def encode(texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    before = encode([_BEFORE])[0]

    def alone_and_later(end: str) -> tuple[list[list[int]], list[list[int]]]:
        alone = encode([f"{line}{end}" for line in lines])
        later = encode([f"{_BEFORE}{line}{end}" for line in lines])
        cut = [ids[len(before) :] if ids[: len(before)] == before else [] for ids in later]
        return alone, [ids or plain for ids, plain in zip(cut, alone, strict=True)]

    first, inside = alone_and_later("\n")
    only, last = alone_and_later("")
    return [first, inside, [[*ids, eos] for ids in last], [[*ids, eos] for ids in only]]


def _different(forms: Sequence[Sequence[Sequence[int]]]) -> list[int]:
    """The lines whose tokens no earlier one has: a tokenizer may know neither title."""
    kept: list[int] = []
    used: set[tuple[int, tuple[int, ...]]] = set()
    for line in range(len(forms[0])):
        tokens = {(number, tuple(form[line])) for number, form in enumerate(forms)}
        if used.isdisjoint(tokens):
            kept.append(line)
            used |= tokens
    return kept


def _trie(lines: Iterable[Sequence[int]]) -> Node:
    root = Node()
    for number, tokens in enumerate(lines):
        node = root
        for token in tokens:
            node = node.children.setdefault(token, Node())
            node.below.add(number)
        node.line = number
    return root


def _plain(text: str) -> str:
    """The text with plain quotes, dashes and spaces, and compatible characters in one form."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_QUOTES).split())


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))
