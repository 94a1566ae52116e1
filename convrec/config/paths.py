"""Paths and addresses: the project root, its profiles, the warehouse, and checks of user input."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from convrec.errors import InputError
from convrec.utils.project import ROOT, working_folder

_IPV4 = re.compile(r"\d+(?:\.\d+){3}")


def home() -> Path:
    """The folder of the warehouse: `CONVREC_HOME`, by default `.convrec/` in the working folder.

    The folder may not exist yet. Raises InputError if it cannot be a folder.
    """
    setting = os.environ.get("CONVREC_HOME")
    default = working_folder() / ".convrec"
    folder = (resolve_path(setting, "CONVREC_HOME") if setting else default).resolve()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise InputError(
            f"CONVREC_HOME={folder} is invalid: {existing} is not a directory; choose another path"
        )
    if "?" in str(folder):  # DuckDB reads what follows as options
        raise InputError(
            f"CONVREC_HOME={folder} is invalid: DuckDB cannot open a database below a folder with "
            "a question mark (?) in its name; choose another path"
        )
    return folder


def resolve_path(text: str, setting: str) -> Path:
    """`text` as a path, with `~` expanded. The path may not exist.

    Raises InputError, naming `setting`, for a path that no file can have or that is not accessible.
    """
    try:
        path = Path(text).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{setting}={text[:100]!r} is not a usable path ({reason}); choose another path"
        ) from None
    return path


def is_http_url(url: str) -> bool:
    """Whether a URL is HTTP(S) with a valid host and port."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_complete = parts.scheme in ("http", "https") and host and parts.port != 0
        if "[" in parts.netloc or _IPV4.fullmatch(host):
            ipaddress.ip_address(host)
        else:
            host.encode("ascii").decode("idna").encode("idna")
    except ValueError:  # a port out of range, an unclosed bracket, 1.2.3.999, a..b
        return False
    return bool(is_complete) and url.isprintable() and " " not in url


def lake_settings() -> tuple[str, str]:
    """(`CONVREC_WAREHOUSE`, `CONVREC_LAKE_DATA`); both empty if the warehouse is a DuckDB file.

    The first is an address such as ducklake:postgres:..., the second the folder or bucket of the
    data. With a lake, `home` holds what belongs to one host: the spool, unfinished trainings, and
    copies of files.
    """
    return os.environ.get("CONVREC_WAREHOUSE", ""), os.environ.get("CONVREC_LAKE_DATA", "")


def has_warehouse() -> bool:
    """Whether a warehouse exists, so that a read-only command does not create one."""
    return bool(lake_settings()[0]) or (home() / "warehouse.duckdb").exists()


def profiles() -> dict[str, Path]:
    """The profiles by name: those that ship, and those in `profiles/` of the working folder.

    A shipped profile comes first if both have its name.
    """
    folders = [folder / "profiles" for folder in dict.fromkeys((working_folder(), ROOT))]
    return {p.stem: p for folder in folders for p in sorted(folder.glob("*.toml"))}
