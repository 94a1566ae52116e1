from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.catalog.publish import publish
from convrec.catalog.resolve import catalog_file
from convrec.config import load
from convrec.errors import InputError

NAMES = ["../evil", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\0b", ".hidden", "A", "x" * 65]


@pytest.mark.parametrize("name", NAMES)
def test_a_catalog_name_is_not_a_path(name: str, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "catalog.csv"
    file.write_text("title,year\nHeat,1995\n")
    with pytest.raises(InputError, match="cannot name a catalog"):
        publish(file, name, store)
    with pytest.raises(InputError, match="cannot name a catalog"):
        catalog_file(load("demo", {"ingest.catalog": f"catalog:{name}"}))
    assert not (store.home / "catalogs").exists()
