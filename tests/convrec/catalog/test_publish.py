from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.artifacts.identity import file_digest
from convrec.catalog.publish import publish_catalog, read_changes, record_announcement
from convrec.catalog.versions import list_versions
from convrec.config import ROOT
from convrec.errors import CatalogError
from tests.support.catalogs import DEMO_LINES, write_edited_catalog, write_lines

pytestmark = pytest.mark.on_ducklake


def test_a_version_is_stored_with_its_changes(store: Store, tmp_path: Path) -> None:
    edited = write_edited_catalog(tmp_path / "new.csv")
    publication = publish_catalog(edited, "demo", store)
    version = publication.version
    assert (version.version, publication.is_new, publication.profiles) == (2, True, ["demo"])
    assert publication.counts == {"added": 1, "removed": 1, "renamed": 1, "changed": 0}
    assert publication.quarantine["reason"].str.contains("19").any()
    changes = read_changes(store, version)
    assert sorted(changes["change"]) == ["added", "removed", "renamed"]
    edited.unlink()
    assert version.path.read_text().endswith("Odd,19,,,,,,\n")
    first, second = list_versions(store)
    assert file_digest(first.path) == first.sha256 == file_digest(ROOT / "catalog" / "demo.csv")
    assert first.announced_at is not None
    assert second == version


def test_a_file_name_that_is_not_utf8_is_published(store: Store, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "na\udcefve.csv", ["title,year", "Heat,1995", "Ronin,201"])
    publication = publish_catalog(file, "films", store, yes=True)
    assert publication.version.source == str(tmp_path / "na?ve.csv")
    assert publication.quarantine["source"].to_list() == ["na?ve.csv"]
    assert list_versions(store) == [publication.version]


def test_the_same_items_are_published_once(store: Store, tmp_path: Path) -> None:
    edited = write_edited_catalog(tmp_path / "new.csv")
    first = publish_catalog(edited, "demo", store)
    second = publish_catalog(edited, "demo", store)
    assert (second.is_new, second.version.version) == (False, first.version.version)
    assert second.needs_announcement
    record_announcement(store, first.version)
    assert not publish_catalog(edited, "demo", store).needs_announcement


def test_large_losses_need_confirmation(store: Store, tmp_path: Path) -> None:
    half = write_lines(tmp_path / "half.csv", DEMO_LINES[:100])
    with pytest.raises(CatalogError, match=r"lacks \d+ of the 204 items of demo.*--yes"):
        publish_catalog(half, "demo", store)
    assert [v.version for v in list_versions(store)] == [1]  # the file in use
    assert publish_catalog(half, "demo", store, yes=True).version.version == 2
    broken = write_lines(
        tmp_path / "broken.csv", [DEMO_LINES[0], "Heat,1995,,,,,,", "Heat,95,,,,,,"]
    )
    with pytest.raises(CatalogError, match=r"1 of 2 rows .* broken year '95'"):
        publish_catalog(broken, "other", store)
