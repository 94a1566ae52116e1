"""Whether two similar names are spelling variants of one name, compared word by word.

The similarity of whole strings says little ("Love and Basketball", "Love and Baseball"), so each
word that occurs in one name only must be a variant of a word that occurs in the other only.
"""

from __future__ import annotations

from rapidfuzz.distance import OSA

from convrec.titles.normalize import ARTICLES, has_digit

_SMALL_WORDS = ARTICLES | {"and", "of"}


def is_spelling_variant(one: list[str], other: list[str], years_known: bool) -> bool:
    """Whether two names, as plain words, differ only in spelling and small words.

    `years_known` states that both years are known and near, which permits larger differences.
    Numbers must be equal. Equal names return False: something else already kept them apart.
    """
    if [w for w in one if has_digit(w)] != [w for w in other if has_digit(w)] or one == other:
        return False
    ignored = _SMALL_WORDS if years_known else ARTICLES
    left, right = _unmatched_words(one, other, ignored), _unmatched_words(other, one, ignored)
    if len(left) != len(right) or len(left) > max(1, len(one) // 3):
        return False
    is_single = len(one) == 1
    pairs = zip(left, right, strict=True)
    return all(_is_word_variant(a, b, years_known, is_single) for a, b in pairs)


def _unmatched_words(one: list[str], other: list[str], ignored: frozenset[str]) -> list[str]:
    rest = list(other)
    unmatched = []
    for word in one:
        if word in rest:
            rest.remove(word)
        elif word not in ignored:
            unmatched.append(word)
    return unmatched


def _is_word_variant(one: str, other: str, years_known: bool, is_single: bool) -> bool:
    """Whether two words are one word in two spellings; without years, only a typing error counts.

    A plural is a different word, because many films are named with the plural of another title.
    """
    shorter = min(len(one), len(other))
    if shorter < 5 or one[0] != other[0] or one == f"{other}s" or other == f"{one}s":
        return False
    if years_known:
        return OSA.distance(one, other) <= (1 if shorter < 8 else 2)
    if _collapse_doubles(one) == _collapse_doubles(other) or sorted(one) == sorted(other):
        return OSA.distance(one, other) == 1
    return not is_single and one[-1] == other[-1] and OSA.distance(one, other) == 1


def _collapse_doubles(word: str) -> str:
    return "".join(c for c, before in zip(word, f" {word}", strict=False) if c != before)
