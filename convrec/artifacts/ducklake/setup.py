"""What DuckDB needs for a lake: extensions that came as packages, psycopg, and the keys of S3."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb

from convrec.artifacts.tables import sql_literal
from convrec.errors import WarehouseError


def resolve_data_path(data: str) -> str:
    """The data's place without a slash at its end: an absolute folder, or s3://bucket/prefix."""
    return data.rstrip("/") if data.startswith("s3://") else str(Path(data).expanduser().resolve())


def extension_file(name: str) -> Path:
    """The file of a DuckDB extension that came as a package: nothing is downloaded at run time."""
    spec = find_spec(f"duckdb_extension_{name}")
    places = spec.submodule_search_locations if spec is not None else None
    folder = Path(next(iter(places))) if places else Path()
    path = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not path.is_file():
        raise _lacking(f"the DuckDB extension {name} for DuckDB {duckdb.__version__}")
    return path


def import_psycopg() -> Any:
    """The module psycopg, with what is used of it. Raises WarehouseError where it is not there."""
    try:
        import psycopg
        import psycopg.conninfo
        import psycopg.errors
    except ImportError:
        raise _lacking("psycopg") from None
    return psycopg


def _lacking(what: str) -> WarehouseError:
    return WarehouseError(
        f"CONVREC_WAREHOUSE names a lake, and {what} is not installed; install all that it needs "
        "with `.venv/bin/pip install -c constraints.txt -e '.[lake]'`"
    )


def s3_secret_sql() -> str:
    """The SQL that tells DuckDB of the S3 keys in the environment; empty without them."""
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
    told = ", ".join(f"{name} {sql_literal(value)}" for name, value in options.items())
    return f"CREATE SECRET (TYPE s3, {told})"
