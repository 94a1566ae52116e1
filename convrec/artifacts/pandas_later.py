"""DuckDB that asks pandas for its missing values only where somebody else has imported it.

DuckDB compares each bound value with `pandas.NaT` and `pandas.NA`, and imports pandas for that:
a third of a second at the start of every command. No value can be one of the two before pandas is
imported. So DuckDB, which looks a module up once and keeps it, is given one that has these two only
from then on, and everything else of pandas at any time. It stands in `sys.modules` for the moment
of that first look alone, and only while no other thread could meet it there.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

NAME = "pandas"
MISSING = ("NaT", "NA")


class _Later(ModuleType):
    """What DuckDB keeps as pandas."""

    def __getattr__(self, name: str) -> Any:
        known = sys.modules.get(NAME)
        if known is self or (known is None and name in MISSING):
            raise AttributeError(name)
        return getattr(import_module(NAME), name)


def ask_pandas_later(connection: duckdb.DuckDBPyConnection) -> None:
    """Spare this process the import of pandas, unless that has been made already."""
    if NAME in sys.modules or threading.active_count() > 1:
        return
    sys.modules[NAME] = _Later(NAME)
    try:
        connection.execute("SELECT ?", [0])
    finally:
        del sys.modules[NAME]
