"""Where DuckDB lays what does not fit into memory.

An instance in memory, to which a file is attached, takes `.tmp` in the working directory, with the
same names in every process: two that spill in one directory write over each other's, and crash.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from typing import Any


def private_spill_folder() -> dict[str, Any]:
    """The setting that gives an instance a folder of its own, made and removed when it spills."""
    name = f"convrec-duckdb-{os.getpid()}-{secrets.token_hex(4)}"
    return {"temp_directory": os.path.join(tempfile.gettempdir(), name)}
