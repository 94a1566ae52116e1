"""Where things are: the project, its profiles, and the folder of the warehouse."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def home() -> Path:
    """The folder of the warehouse: `CONVREC_HOME`, by default `.convrec/` in the project root."""
    return Path(os.environ.get("CONVREC_HOME") or ROOT / ".convrec").expanduser().resolve()


def profiles() -> dict[str, Path]:
    """The profiles that ship, by name."""
    return {p.stem: p for p in sorted((ROOT / "profiles").glob("*.toml"))}
