"""What a catalog says about its items besides their titles: their kind, genres and texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, cached_property

import polars as pl

from convrec.titles.normalize import plain_words
from convrec.titles.remarks import Remark, kind_of_work, read_remark

_GENRE_WORDS = {
    "animation": {"animation", "animated", "anime", "cartoon"},
    "documentary": {"documentary", "documentaries"},
    "short": {"short", "shorts"},
    "musical": {"musical", "musicals", "music"},
}

_TYPE = re.compile(
    r"\btv[A-Z][A-Za-z]+|^TV (?:[Mm]ini[- ]?)?[Ss]eries\b|\bTV (?:Mini[- ]?)?(?:Series|Show)$"
)
"""A value of a type column, which is joined with the other text columns."""

_MAX_TYPE_CHARACTERS = 20


class CatalogFacts:
    """The facts of a catalog, by row. They are read only for titles with a remark."""

    def __init__(
        self, catalog: pl.DataFrame, remarks: Mapping[int, tuple[Remark, ...]], noun: str
    ) -> None:
        """`remarks` are those in the catalog's titles; `noun` names an item, as in "movie"."""
        self._catalog = catalog
        self.remarks = remarks
        """Row → the remarks in the item's title that tell it from others."""
        self.medium = read_remark(noun).medium
        """The kind of work that an item is unless the catalog says otherwise; empty: any."""
        self.words = cache(self._words)
        self.media = cache(self._media)

    @cached_property
    def years(self) -> Sequence[int | None]:
        """The year of each item."""
        return self._catalog["year"].to_list()

    def is_usual(self, position: int) -> bool:
        """Whether the item has the catalog's usual kind, as far as the catalog says."""
        return not self.medium or self.medium in self.media(position)

    def says(self, position: int, remark: Remark) -> bool:
        """Whether the item's own remarks, genres or texts say all that the remark says."""
        own = (r._replace(text=remark.text) for r in self.remarks.get(position, ()))
        if remark in own:
            return True
        told = self.words(position)
        return (
            (not remark.genre or not _GENRE_WORDS[remark.genre].isdisjoint(told))
            and told.issuperset(remark.other)
            and told.issuperset(remark.origin.split())
        )

    def denies(self, position: int, remark: Remark) -> bool:
        """Whether the item has another genre or country than the remark says."""
        own = self.remarks.get(position, ())
        if remark.origin and any(r.origin and r.origin != remark.origin for r in own):
            return True
        if remark.genre in ("", "musical") or not self._genres[position]:
            return False
        has_genre = self.says(position, Remark("", genre=remark.genre))
        return not has_genre and not _GENRE_WORDS[remark.genre].isdisjoint(self._all_genres)

    def _media(self, position: int) -> frozenset[str]:
        """The kinds of work that the item may be called."""
        text = self._texts[position]
        pieces = [*self._genres[position], *_TYPE.findall(text)]
        if len(text) < _MAX_TYPE_CHARACTERS:
            pieces.append(text)
        kinds = {remark.medium for remark in self.remarks.get(position, ())}
        kinds |= set(map(kind_of_work, pieces))
        return frozenset(kinds - {""}) or frozenset({self.medium})

    def _words(self, position: int) -> frozenset[str]:
        text = " ".join([*self._genres[position], self._texts[position]])
        return frozenset(plain_words(text))

    @cached_property
    def _genres(self) -> Sequence[Sequence[str]]:
        if "genres" not in self._catalog.columns:
            return [()] * self._catalog.height
        return [genres or () for genres in self._catalog["genres"].to_list()]

    @cached_property
    def _all_genres(self) -> frozenset[str]:
        distinct = {genre for genres in self._genres for genre in genres}
        return frozenset(plain_words(" ".join(sorted(distinct))))

    @cached_property
    def _texts(self) -> Sequence[str]:
        if "text" not in self._catalog.columns:
            return [""] * self._catalog.height
        return [text or "" for text in self._catalog["text"].to_list()]
