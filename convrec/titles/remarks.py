"""What a remark in brackets after a title says: "(remake)", "(TV series)", "(director's cut)".

A remark may tell a version from another one with the same title, name another kind of work, an
edition of the same work, or a country or person. It is read word by word. A remark with other words
is more likely a further name of the work ("Seven Samurai (Shichinin no samurai)"), unless its first
or last words say that it is not ("Netflix series", "remake with Dakota Johnson").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from convrec.titles.normalize import has_digit, is_plausible_year, plain_words

Order = Literal["", "earliest", "later", "latest", "live action"]
"""Which work of a title is meant: "later" is any but the first."""


class Remark(NamedTuple):
    """A remark in brackets and what its words say; empty fields say nothing.

    Attributes:
        order: Which of several works with one title.
        number: The second, third, ... of them, or of a series; 0: none.
        years: The first and last year that the work may be of.
        medium: The kind of work: "film", "series", "book", ....
        origin: The country, by its English adjective.
        genre: "animation", "documentary", "short" or "musical".
        is_edition: Whether it names an edition of the same work.
        other: The words that say nothing of this.
    """

    text: str
    order: Order = ""
    number: int = 0
    years: tuple[int, int] | None = None
    medium: str = ""
    origin: str = ""
    genre: str = ""
    is_edition: bool = False
    other: tuple[str, ...] = ()

    @property
    def is_name(self) -> bool:
        """Whether this may be a further name of the work, because no word says otherwise."""
        return self == Remark(self.text, other=self.other)

    def names(self, title: str) -> list[str]:
        """The names that the title and this may form: "Star Trek (The Original Series)"."""
        if self.is_name or self.is_edition or self.medium == "film":
            return []
        numbered = [f"{title} {self.number}"] if self.number else []
        return [*numbered, f"{title} {self.text}"]

    def keys(self, title: str) -> list[str]:
        """The keys (`plain_words`, joined) of names that have both the title and the remark."""
        names = [f"{title} {self.text}", *self.names(title)]
        return ["".join(plain_words(name)) for name in names]

    @property
    def key(self) -> str:
        """The key of the remark alone."""
        return "".join(plain_words(self.text))

    @property
    def tells(self) -> bool:
        """Whether it tells a work from another one of the same title."""
        is_film = self == Remark(self.text, medium="film")
        return not (self.is_name or is_film or self == Remark(self.text, is_edition=True))

    @property
    def chooses(self) -> bool:
        """Whether it chooses among works of one title."""
        return bool(self.order or self.number or self.years)


def _phrases(text: str) -> list[tuple[str, ...]]:
    return [tuple(phrase.split()) for phrase in text.split(", ")]


_MEANINGS: dict[str, dict[str, str]] = {
    "order": {
        "later": "remake, remade, re make, reboot, rebooted, re boot, reimagining, re imagining, "
        "reimagined, re imagined, redo, revival, later, modern, recent, contemporary, sequel, "
        "prequel, follow up, spinoff, spin off, neuverfilmung, リメイク, 리메이크, 翻拍",
        "latest": "new, newer, newest, latest, most recent, current",
        "earliest": "original, originals, old, older, oldest, classic, 1st, earliest, earlier, "
        "vintage, og",
        "live action": "live action, liveaction",
    },
    "medium": {
        "film": "film, films, movie, movies, feature, motion picture, flick, tv movie, "
        "tv film, tv special, television movie, television film, video, made for tv, "
        "made for tv movie, cinema, theatrical film, filme, spielfilm, pelicula, фильм, 电影, "
        "電影, 映画, 영화",
        "series": "tv, television, series, serial, tv series, tv show, tv serial, show, tv mini "
        "series, mini series, miniseries, tv miniseries, limited series, web series, webseries, "
        "docuseries, sitcom, soap, animated series, anime series, drama series, tv drama, "
        "television series, television show, k drama, kdrama, ova, ona, serie, telenovela, "
        "fernsehserie, сериал, 电视剧, 電視劇, ドラマ, 드라마",
        "book": "book, books, novel, novels, novella, short story, memoir, audiobook, light novel",
        "comic": "comic, comics, comic book, graphic novel, manga, manhwa, webtoon",
        "game": "game, video game, videogame, board game",
        "music": "album, song, soundtrack, ost, single, score",
        "stage": "play, stage play, stage musical, broadway, opera, ballet",
        "podcast": "podcast, radio, radio play, radio drama",
    },
    "genre": {
        "animation": "animated, animation, anime, cartoon, cgi, stop motion, claymation",
        "documentary": "documentary, doc, docu",
        "short": "short, short film, short movie",
        "musical": "musical",
    },
    "edition": {
        "edition": "director cut, directors cut, extended, extended cut, cut, unrated, uncut, "
        "uncensored, theatrical, theatrical cut, final cut, special edition, ultimate, remastered, "
        "remaster, restored, restoration, imax, 3d, 2d, 4k, uhd, hd, bluray, blu ray, dvd, vhs, "
        "redux, anniversary, criterion, criterion collection, collectors, deluxe, definitive, "
        "colorized, colourised, colorised, colourized, subtitled, subtitles, subbed, subs, sub, "
        "dubbed, dub, rated, roadshow, workprint, black and white, b and w, widescreen, "
        "full length, ultimate cut, edition, director, directors, collection",
    },
    "origin": {
        "american": "us, usa, american, america, hollywood",
        "british": "uk, british, english, britain, england",
        "japanese": "japanese, japan",
        "korean": "korean, korea, south korean, south korea",
        "french": "french, france",
        "german": "german, germany",
        "italian": "italian, italy",
        "spanish": "spanish, spain",
        "swedish": "swedish, sweden",
        "danish": "danish, denmark",
        "norwegian": "norwegian, norway",
        "finnish": "finnish, finland",
        "dutch": "dutch, netherlands",
        "polish": "polish, poland",
        "russian": "russian, russia, soviet",
        "chinese": "chinese, china",
        "hong kong": "hong kong",
        "taiwanese": "taiwanese, taiwan",
        "thai": "thai, thailand",
        "indian": "indian, india, hindi, bollywood, tamil, telugu, malayalam",
        "turkish": "turkish, turkey",
        "iranian": "iranian, iran",
        "mexican": "mexican, mexico",
        "brazilian": "brazilian, brazil",
        "canadian": "canadian, canada",
        "australian": "australian, australia",
    },
}  # fmt: skip
_MEANING_OF = {
    phrase: (field, value)
    for field, values in _MEANINGS.items()
    for value, phrases in values.items()
    for phrase in _phrases(phrases)
}
_LONGEST = max(map(len, _MEANING_OF))
_FIRST_WORDS = frozenset(phrase[0] for phrase in _MEANING_OF)
_FILLERS = frozenset(
    _phrases(
        "a, an, the, this, that, of, it, in, on, by, from, for, at, and, with, version, versions, "
        "adaptation, take, release, 1, ones"
    )
)
_CLEAR = frozenset(
    _phrases("remake, reboot, tv series, tv show, series, miniseries, sitcom, live action")
)
"""Phrases that mean what they say at the beginning or end of any remark."""

_HEADS = _CLEAR | frozenset(_phrases("version, adaptation, 1"))
"""Last words of remarks whose other words say whose or which: "Netflix series", "Nolan version"."""

_EDITION_HEADS = frozenset({"cut", "edition", "remaster", "dub", "sub"})
_OPPOSITES: dict[Order, Order] = {
    "later": "earliest", "latest": "earliest", "live action": "earliest", "earliest": "later"
}  # fmt: skip
_ORDINAL = re.compile(r"^(\d)(?:nd|rd|th)$")
_EPISODE = re.compile(r"^s\d{1,2}(?:e\d{1,3})?$")
_DECADE = re.compile(r"^(\d{2})?(\d0)s$")
_YEAR = re.compile(r"^\d{4}$")

Meaning = tuple[str, str]
"""A field and its value, both empty for a word without a meaning."""


def read_remark(text: str) -> Remark:
    """What the words of a remark say."""
    words = plain_words(text)
    if not words:
        return Remark(text)
    if _FIRST_WORDS.isdisjoint(words) and not any(map(has_digit, words)):
        return Remark(text, other=tuple(words))
    if words[0] == "not":
        return _negated(text, words)
    if "or" in words:
        return Remark(text, other=tuple(words))
    pieces = list(_split_phrases(words))
    other = tuple(word for phrase, (field, _) in pieces if not field for word in phrase)
    if not other or pieces[-1][0] in _HEADS:
        return _remark(text, [meaning for _, meaning in pieces], other)
    if words[-1] in _EDITION_HEADS:
        return Remark(text, is_edition=True)
    start = next((piece for piece in pieces if piece[1][0] != "filler"), ((), ("", "")))
    return _remark(text, [start[1]] if start[0] in _CLEAR else [], other)


def kind_of_work(text: str) -> str:
    """The kind of work that words name: "TV Series", "tvSeries" and "Mini-Series" are a series."""
    remark = read_remark(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text))
    return "" if remark.other else remark.medium


def _negated(text: str, words: list[str]) -> Remark:
    """What "not the remake" says."""
    remark = read_remark(" ".join(words[1:]))
    if remark.order and not remark.other:
        return Remark(text, order=_OPPOSITES[remark.order])
    return Remark(text, other=tuple(words))


def _split_phrases(words: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Meaning]]:
    start = 0
    while start < len(words):
        for length in range(min(_LONGEST, len(words) - start), 0, -1):
            phrase = tuple(words[start : start + length])
            meaning = _MEANING_OF.get(phrase) or _word_meaning(phrase)
            if meaning or length == 1:
                yield phrase, meaning or ("", "")
                start += length
                break


def _word_meaning(phrase: tuple[str, ...]) -> Meaning | None:
    word = phrase[0] if len(phrase) == 1 else ""
    if phrase in _FILLERS:
        return "filler", word
    if match := _ORDINAL.match(word):
        return "number", match[1]
    if _EPISODE.match(word):
        return "medium", "series"
    if match := _DECADE.match(word):
        century = match[1] or ("20" if match[2] < "30" else "19")
        return "decade", century + match[2]
    if _YEAR.match(word) and is_plausible_year(int(word)):
        return "year", word
    return None


def _remark(text: str, meanings: list[Meaning], other: tuple[str, ...]) -> Remark:
    """The remark with these meanings; the first of a field counts."""
    found = {field: value for field, value in reversed(meanings) if field not in ("", "filler")}
    years = None
    if year := int(found.get("year") or found.get("decade") or 0):
        years = (year, year if "year" in found else year + 9)
    if ("medium", "series") in meanings:
        found["medium"] = "series"
    order: Order = found.get("order", "")  # type: ignore[assignment]
    return Remark(
        text,
        order=order,
        number=int(found.get("number", 0)),
        years=years,
        medium=found.get("medium", ""),
        origin=found.get("origin", ""),
        genre=found.get("genre", ""),
        is_edition="edition" in found,
        other=other,
    )
