"""Where things are: the project, its profiles, and the folder of the warehouse."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def home() -> Path:
    """The folder of the warehouse: `CONVREC_HOME`, by default `.convrec/` in the project root."""
    return Path(os.environ.get("CONVREC_HOME") or ROOT / ".convrec").expanduser().resolve()


def lake_address() -> tuple[str, str]:
    """Where the warehouse is a lake: its address, and the place of its data; else two empty texts.

    `CONVREC_WAREHOUSE=ducklake:postgres:...` and `CONVREC_LAKE_DATA`. The folder of `home` then has
    what belongs to one host: the spool, trainings that go on, and copies of files.
    """
    return os.environ.get("CONVREC_WAREHOUSE", ""), os.environ.get("CONVREC_LAKE_DATA", "")


def has_warehouse() -> bool:
    """Whether there is a warehouse already, so that looking at it makes none."""
    return bool(lake_address()[0]) or (home() / "warehouse.duckdb").exists()


def profiles() -> dict[str, Path]:
    """The profiles that ship, by name."""
    return {p.stem: p for p in sorted((ROOT / "profiles").glob("*.toml"))}
