"""Where things are: the project, its profiles, and the folder of the warehouse."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from convrec.errors import InputError

_FOUR_NUMBERS = re.compile(r"\d+(?:\.\d+){3}")

ROOT = Path(__file__).resolve().parents[2]


def home() -> Path:
    """The folder of the warehouse: `CONVREC_HOME`, by default `.convrec/` in the project root.

    It need not be there. Raises InputError where it cannot be a folder.
    """
    given = os.environ.get("CONVREC_HOME")
    folder = (resolve_path(given, "CONVREC_HOME") if given else ROOT / ".convrec").resolve()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"CONVREC_HOME cannot be {folder}: {there} is no folder; give another")
    return folder


def resolve_path(given: str, what: str) -> Path:
    """The path that a setting or an option gives, with `~` read; it need not be there.

    Raises InputError for one that no file can have, or that may not be looked at.
    """
    try:
        path = Path(given).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{what}={given[:100]!r} is no path that can be used ({reason}); give another"
        ) from None
    return path


def is_address(url: str) -> bool:
    """Whether a server can be asked at a URL."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        whole = parts.scheme in ("http", "https") and host and parts.port != 0
        if "[" in parts.netloc or _FOUR_NUMBERS.fullmatch(host):
            ipaddress.ip_address(host)
        else:
            host.encode("ascii").decode("idna").encode("idna")
    except ValueError:  # a port out of range, a bracket that is not closed, 1.2.3.999, a..b
        return False
    return bool(whole) and url.isprintable() and " " not in url


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
