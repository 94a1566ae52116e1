"""Rows of conversations in the authors' schema, and folders that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.config import Config, load

CATALOG = "title,year\nHeat,1995\nRonin,1998\n"


def post(text: str = "USER: Like Heat?", **values: Any) -> dict[str, Any]:
    """A row with one post."""
    return {
        "prompt": [{"role": "user", "content": text}],
        "seen_titles": ["Heat"],
        "groundtruth_with_release_year": [["Ronin", "1998"]],
    } | values


def data_config(folder: Path, **overrides: Any) -> Config:
    """The configuration for the rows in a folder, which gets a catalog."""
    if folder.is_dir():
        (folder / "catalog.csv").write_text(CATALOG, encoding="utf-8")
    return load("reddit-v2", {"ingest.path": str(folder), **overrides})
