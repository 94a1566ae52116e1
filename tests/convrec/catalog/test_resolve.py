from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.artifacts.identity import file_digest
from convrec.catalog.publish import publish_catalog
from convrec.catalog.selection import (
    catalog_file,
    find_catalog_file,
    load_with_catalog,
    pin_version,
    profiles_with_catalog,
)
from convrec.catalog.versions import parse_catalog_name
from convrec.config import ROOT, load
from convrec.errors import CatalogError
from tests.support.catalogs import DEMO_LINES, write_edited_catalog, write_lines

pytestmark = pytest.mark.on_ducklake


def test_a_profile_uses_the_newest_or_a_fixed_version(store: Store, tmp_path: Path) -> None:
    demo = load("demo")
    shipped = ROOT / "catalog" / "demo.csv"
    assert catalog_file(demo) == shipped
    assert pin_version(demo, store) == demo
    publication = publish_catalog(write_edited_catalog(tmp_path / "new.csv"), "demo", store)
    assert catalog_file(demo) == publication.version.path
    assert pin_version(demo, store).ingest.catalog == "catalog:demo@2"
    old = catalog_file(load("demo", {"ingest.catalog": "catalog:demo@1"}))
    assert old is not None
    assert file_digest(old) == file_digest(shipped)
    with pytest.raises(CatalogError, match="no version 9"):
        catalog_file(load("demo", {"ingest.catalog": "catalog:demo@9"}))


def test_profiles_with_a_catalog() -> None:
    assert profiles_with_catalog("demo") == ["demo"]
    assert profiles_with_catalog("unused") == []


def test_the_catalog_next_to_the_data_is_the_default(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_lines(folder / "catalog.csv", DEMO_LINES)
    config = load("reddit-v2", {"ingest.path": str(folder)})
    assert config.ingest.catalog == "catalog:reddit-v2"
    assert catalog_file(config) == folder / "catalog.csv"


def test_an_unpublished_name_has_no_file() -> None:
    name = parse_catalog_name("catalog:never-published")
    assert name is not None
    assert find_catalog_file(name) is None


def test_only_a_profile_may_name_an_unpublished_catalog(store: Store, tmp_path: Path) -> None:
    publish_catalog(write_edited_catalog(tmp_path / "new.csv"), "films", store)
    unknown = {"ingest.catalog": "catalog:nosuch"}
    with pytest.raises(CatalogError, match=r"nosuch.*: demo, demo-books, .*films; `") as caught:
        load_with_catalog("demo", unknown)
    assert "\n" not in str(caught.value)
    for name in ("films", "films@1", "demo-books"):
        load_with_catalog("demo", {"ingest.catalog": f"catalog:{name}"})
    profile = tmp_path / "demo.toml"
    profile.write_text('[ingest]\ncatalog = "catalog:nosuch"\n')
    assert load_with_catalog(str(profile), unknown).ingest.catalog == "catalog:nosuch"
    with pytest.raises(CatalogError, match="elsewhere"):
        load_with_catalog(str(profile), {"ingest": {"catalog": "catalog:elsewhere"}})
