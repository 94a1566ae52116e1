"""What a lake needs in this process: DuckDB extensions, psycopg, and the keys of S3."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb

from convrec.artifacts.tables import sql_literal
from convrec.errors import WarehouseError


def resolve_data_path(data: str) -> str:
    """An absolute folder, or s3://bucket/prefix, without a trailing slash."""
    return data.rstrip("/") if data.startswith("s3://") else str(Path(data).expanduser().resolve())


def extension_file(name: str) -> Path:
    """A DuckDB extension that is installed as a package: nothing is downloaded at run time.

    Raises WarehouseError if it is not installed.
    """
    spec = find_spec(f"duckdb_extension_{name}")
    folders = spec.submodule_search_locations if spec is not None else None
    folder = Path(next(iter(folders))) if folders else Path()
    path = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.is_file():
        raise _not_installed(f"the DuckDB extension {name} for DuckDB {duckdb.__version__}")
    return path


def import_psycopg() -> Any:
    """The module psycopg with its submodules. Raises WarehouseError if it is not installed."""
    try:
        import psycopg
        import psycopg.conninfo
        import psycopg.errors
    except ImportError:
        raise _not_installed("psycopg") from None
    return psycopg


def _not_installed(what: str) -> WarehouseError:
    return WarehouseError(
        f"CONVREC_WAREHOUSE names a lake, but {what} is not installed; install what a lake needs "
        "with `.venv/bin/pip install -c constraints.txt -e '.[lake]'`"
    )


def s3_secret_sql() -> str:
    """SQL that gives DuckDB the S3 keys of the environment; empty without them."""
    key, secret = (os.environ.get(f"AWS_{n}", "") for n in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    if not key or not secret:
        return ""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    options = {"KEY_ID": key, "SECRET": secret, "REGION": region}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        options["SESSION_TOKEN"] = token
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        scheme, _, host = endpoint.rpartition("://")
        options |= {"ENDPOINT": host.rstrip("/"), "URL_STYLE": "path"}
        options["USE_SSL"] = "false" if scheme == "http" else "true"
    assignments = ", ".join(f"{name} {sql_literal(value)}" for name, value in options.items())
    return f"CREATE SECRET (TYPE s3, {assignments})"
