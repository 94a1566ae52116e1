"""The text of a line without markup: full-width signs, links, tags, escapes, emphasis."""

from __future__ import annotations

import re

from convrec.titles.normalize import clean_text

MAX_CHARACTERS = 1000
"""Characters of a line that are read; title and year are at its beginning."""

_WIDE_SPACES = (0x3000, 0xA0, 0x2002, 0x2003, 0x2007, 0x2009, 0x202F)
_FOLDED = (
    {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
    | dict.fromkeys(_WIDE_SPACES, 0x20)
    | {ord(wide): ord(sign) for wide, sign in zip("【】〔〕﹙﹚", "[][]()", strict=True)}
)
"""One character for another, so that positions stay the same."""

_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!>|~-])")
_LINK = re.compile(
    r"!?\[([^\[\]]{0,300})\]\(\s*<?[^()\s]*[/:.#][^()\s]*(?:\([^()\s]*\)[^()\s]*)*[^()]{0,100}\)"
)
_FOOTNOTE = re.compile(r"\[\^?\d{1,3}(?:[,†:][^\[\]]{0,60})?\]\s*$|\[\^\d{1,3}\]")
_ANGLE_QUOTED = re.compile(r"^(\W{0,4})<([^<>/]{1,100})>(?=\s*\()")
_ADDRESS = re.compile(r"<?\bhttps?://[^\s<>]*>?")
_LATEX = re.compile(r"\\(?:text(?:bf|it|tt)?|emph)\{([^{}]{0,300})\}|\\(?:begin|end)\{\w{1,20}\}")
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9_]{0,19}(?:\s[^<>]{0,200})?/?>")
_EMPHASIS = re.compile(
    r"(?<![\w*_])(\*{1,3}|_{1,3}|~~|`)(?=[^\s*_`])([^*_`]*?[^\s*_`])\1(?![\w*_])"
)
_ORPHANED = re.compile(r"\*\*|__")
_INNER_STARS = re.compile(r"(?<=\w)\*{2,}(?=\w)")


def fold(text: str) -> str:
    """The text with full-width signs and spaces as ASCII; positions stay the same."""
    return text if text.isascii() else text.translate(_FOLDED)


def without_markup(text: str) -> str:
    """One line of text without links, tags and escapes; emphasis stays."""
    text = fold(text[:MAX_CHARACTERS])
    if "\\" in text:
        text = _ESCAPE.sub(r"\1", _LATEX.sub(r"\1", text))
    if "[" in text:
        text = _FOOTNOTE.sub("", _LINK.sub(r"\1", text))
    if "://" in text:
        text = _ADDRESS.sub("", text)
    if "<" in text:
        text = _TAG.sub("", _ANGLE_QUOTED.sub(r"\1\2", text))
    return fold(clean_text(text)).strip()


def without_emphasis(text: str) -> str:
    """The text without `**bold**`, `*italic*`, `_italic_` and `code`; "M*A*S*H" stays."""
    if not any(sign in text for sign in "*_`~"):
        return text
    for _ in range(2):
        text = _EMPHASIS.sub(r"\2", text)
    if _INNER_STARS.search(text):
        return text.strip()
    return _ORPHANED.sub("", text).strip("_ ")


def has_words(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return any(map(str.isalnum, text))
