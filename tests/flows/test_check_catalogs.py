from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.catalog.versions import list_versions
from convrec.config import ROOT
from convrec.errors import CatalogError
from flows.check_catalogs import check_catalogs
from flows.pipeline import pipeline


@pytest.fixture
def watched_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the demo's catalog in a temporary project folder."""
    monkeypatch.setattr("convrec.catalog.selection.ROOT", tmp_path)
    (tmp_path / "catalog").mkdir()
    copy = tmp_path / "catalog" / "demo.csv"
    copy.write_bytes((ROOT / "catalog" / "demo.csv").read_bytes())
    return copy


def test_a_changed_file_is_published_once_a_shrunken_one_never(
    home: Path, watched_file: Path
) -> None:
    assert [row["outcome"] for row in check_catalogs()] == ["as before"]  # no build to compare with
    pipeline(profile="demo", until="ingest")
    lines = watched_file.read_text(encoding="utf-8").splitlines()
    watched_file.write_text("\n".join([lines[0], *lines[2:]]) + "\n", encoding="utf-8")

    assert [row["outcome"] for row in check_catalogs(dry_run=True)] == ["changed"]
    assert list_versions(Store(home)) == []
    assert [row["outcome"] for row in check_catalogs()] == ["version 1"]
    (version,) = list_versions(Store(home), "demo")
    assert version.announced_at is not None
    assert version.source == str(watched_file)
    assert [row["outcome"] for row in check_catalogs()] == ["as before"]

    watched_file.write_text("\n".join(lines[:80]) + "\n", encoding="utf-8")
    with pytest.raises(CatalogError, match=r"demo refused: .* lacks \d+ of the 203 items"):
        check_catalogs()
    assert len(list_versions(Store(home), "demo")) == 1
