from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.catalog.publish import publish_catalog
from convrec.catalog.selection import catalog_file
from convrec.catalog.versions import find_version, parse_catalog_name
from convrec.config import load
from convrec.errors import CatalogError, InputError
from tests.support.catalogs import write_edited_catalog

pytestmark = pytest.mark.on_ducklake

NAMES = ["../evil", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\0b", ".hidden", "A", "x" * 65]


@pytest.mark.parametrize("name", NAMES)
def test_a_catalog_name_is_not_a_path(name: str, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "catalog.csv"
    file.write_text("title,year\nHeat,1995\n")
    with pytest.raises(InputError, match="not a valid catalog name"):
        publish_catalog(file, name, store)
    with pytest.raises(InputError, match="not a valid catalog name"):
        catalog_file(load("demo", {"ingest.catalog": f"catalog:{name}"}))
    assert not (store.home / "catalogs").exists()


@pytest.mark.parametrize("setting", ["catalog:Films", "catalog:", "catalog:a@x", "catalog:../a"])
def test_an_invalid_catalog_setting_is_an_error(setting: str) -> None:
    with pytest.raises(CatalogError):
        parse_catalog_name(setting)


def test_a_missing_version_lists_the_published_ones(store: Store, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no version yet .*none published"):
        find_version(store, "demo", None)
    publish_catalog(write_edited_catalog(tmp_path / "new.csv"), "demo", store)
    assert find_version(store, "demo", None).version == 2
    assert find_version(store, "demo", 1).version == 1
    with pytest.raises(CatalogError, match="published: 1, 2"):
        find_version(store, "demo", 9)
