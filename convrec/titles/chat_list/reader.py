"""Reads the list in a chat model's answer, however it is written."""

from __future__ import annotations

from convrec.titles.chat_list.inline import SPLITS
from convrec.titles.chat_list.item import read_item
from convrec.titles.chat_list.line_rule import ListForm, line_content
from convrec.titles.chat_list.lines import read_items
from convrec.titles.chat_list.markers import MarkedLine
from convrec.titles.chat_list.plain import read_plain
from convrec.titles.chat_list.remarks import is_refusal
from convrec.titles.chat_list.structured import is_json, read_json
from convrec.titles.chat_list.tables import html_as_lines, read_table
from convrec.titles.chat_list.turns import model_turns
from convrec.titles.title_year import TitleYear

Items = list[tuple[str, TitleYear]]
"""(raw line, title and year) by rank."""


_ENOUGH = 3
"""Items that make a turn of a made-up conversation the answer."""


def read_list(text: str, form: ListForm, *, is_cut: bool = False) -> Items:
    """The items of an answer. If it `is_cut`, its last line counts only if a newline ends it."""
    if form.is_default and not is_cut and (plain := read_plain(text)):
        return plain
    best: Items = []
    turns = model_turns(text)
    for turn in turns:
        items = _read_turn(turn, form, is_cut=is_cut and turn is turns[-1])
        best = items if len(items) > len(best) else best
        if len(best) >= _ENOUGH:
            break
    return best


def _read_turn(text: str, form: ListForm, *, is_cut: bool) -> Items:
    if items := read_json(text, is_cut=is_cut):
        return items
    if text.lstrip()[:1] in "[{" and is_json(text):
        return []
    if is_cut and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
    text = html_as_lines(text)
    refuses = is_refusal(text)
    items = read_table(text) or _read_sentence(text, refuses=refuses) or _read_lines(text, form)
    return [one for one in items if one[1].year is not None] if refuses else items


def _read_lines(text: str, form: ListForm) -> Items:
    return [(line.raw, _in_form(line, form) or item) for line, item in read_items(text)]


def _in_form(line: MarkedLine, form: ListForm) -> TitleYear | None:
    """The item of a line in a form of the domain's own; None if it is not in it."""
    content = "" if form.is_default else line_content(line.content)
    item = form.parse(content) if content else None
    return item if item and item.title != content else None


def _read_sentence(text: str, *, refuses: bool) -> Items:
    """The items of an answer that lists them in its only line, apart from an introduction."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 2 and lines[0].endswith(":"):
        lines = lines[1:]
    if len(lines) != 1 or refuses or lines[0][:2] in ("- ", "* ", "• ") or lines[0][:1].isdigit():
        return []
    pieces = next(filter(None, (split(lines[0]) for split in SPLITS)), [])
    readings = [(piece, read_item(piece)) for piece in pieces]
    return [
        (piece, reading.item)
        for piece, reading in readings
        if reading.item and (reading.is_dated or not reading.is_remark)
    ]
