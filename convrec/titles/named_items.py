"""Find the catalog items whose titles a text names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from convrec.titles.index import YEAR_TOLERANCE
from convrec.titles.normalize import exact_key, normalize_characters

Item = tuple[str, str, int | None]
"""item_id, title, year."""

_WORD = re.compile(r"\w+")
_SAME_LETTERS = str.maketrans({"İ": "i", "ı": "i"})
"""Letters that `re.IGNORECASE` takes for an i, unlike `str.casefold`."""


class NamedItems:
    """Finds the items of a catalog in texts. Building it reads the whole catalog once."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._by_key: dict[str, list[Item]] = {}
        spellings: set[str] = set()
        for item_id, title, year in items:
            spelling = normalize_characters(title)
            self._by_key.setdefault(exact_key(title), []).append((item_id, spelling, year))
            spellings.add(spelling)
        self._by_first_word: dict[str, list[tuple[frozenset[str], str]]] = {}
        for spelling in sorted(spellings, key=lambda title: (-len(title), title)):
            words = _words(spelling)
            entry = (frozenset(words), spelling)
            self._by_first_word.setdefault(words[0] if words else "", []).append(entry)

    def find(self, text: str) -> set[str]:
        """Ids of the items whose title occurs in the text as whole words.

        Of overlapping titles, the longest wins. A year right after a title selects among remakes.
        Titles of one word must have the catalog's capitalization, so "it" and "up" stay words.
        """
        normalized = normalize_characters(text)
        titles = sorted(self._possible(normalized), key=len, reverse=True)
        pattern = rf"(?<!\w)({'|'.join(map(re.escape, titles))})(?!\w)(?:\s*\((\d{{4}})\))?"
        named = set()
        for match in re.finditer(pattern, normalized, re.IGNORECASE) if titles else ():
            written, year = match[1], match[2]
            for item_id, title, item_year in self._by_key.get(exact_key(written), ()):
                if year is None:
                    is_named = " " in title or written == title
                else:
                    is_named = item_year is None or abs(item_year - int(year)) <= YEAR_TOLERANCE
                if is_named:
                    named.add(item_id)
        return named

    def _possible(self, text: str) -> Iterator[str]:
        """The titles of which the text has every word: few, where a catalog has thousands."""
        words = {"", *_words(text)}
        for word in words:
            for title_words, title in self._by_first_word.get(word, ()):
                if title_words <= words:
                    yield title


def named_items(text: str, items: Iterable[Item]) -> set[str]:
    """`NamedItems.find` for a single text."""
    return NamedItems(items).find(text)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold().translate(_SAME_LETTERS))
