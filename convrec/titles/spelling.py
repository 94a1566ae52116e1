"""Whether two similar names are one name in two spellings: looked at word by word.

A high ratio of whole strings says little ("Love and Basketball", "Love and Baseball"), so every
word that only one of the names has must be a variant of one that only the other has.
"""

from __future__ import annotations

from convrec.titles.normalize import ARTICLES, is_number

_SMALL = ARTICLES | {"and", "of"}


def same_words(one: list[str], other: list[str], dated: bool) -> bool:
    """Whether two names, as plain words, differ by spelling and by small words only.

    `dated` says that both years are known and near, which leaves room for more. Numbers must be
    the same, and equal names are not looked at: whatever kept them apart before still does.
    """
    if [w for w in one if is_number(w)] != [w for w in other if is_number(w)] or one == other:
        return False
    small = _SMALL if dated else ARTICLES
    left, right = _only(one, other, small), _only(other, one, small)
    if len(left) != len(right) or len(left) > max(1, len(one) // 3):
        return False
    alone = len(one) == 1
    return all(_variant(a, b, dated, alone) for a, b in zip(left, right, strict=True))


def _only(one: list[str], other: list[str], small: frozenset[str]) -> list[str]:
    rest = list(other)
    missing = []
    for word in one:
        if word in rest:
            rest.remove(word)
        elif word not in small:
            missing.append(word)
    return missing


def _variant(one: str, other: str, dated: bool, alone: bool) -> bool:
    """Whether two words are one word in two spellings; without a year only a slip of the pen is.

    A plural is another word: many a film has the plural of another's title.
    """
    from rapidfuzz.distance import OSA

    shorter = min(len(one), len(other))
    if shorter < 5 or one[0] != other[0] or one == f"{other}s" or other == f"{one}s":
        return False
    if dated:
        return OSA.distance(one, other) <= (1 if shorter < 8 else 2)
    if _undoubled(one) == _undoubled(other) or sorted(one) == sorted(other):
        return OSA.distance(one, other) == 1
    return not alone and one[-1] == other[-1] and OSA.distance(one, other) == 1


def _undoubled(word: str) -> str:
    return "".join(c for c, before in zip(word, f" {word}", strict=False) if c != before)
