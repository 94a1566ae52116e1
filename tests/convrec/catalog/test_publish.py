from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from convrec.artifacts import StepResult, Store
from convrec.artifacts.identity import file_digest
from convrec.catalog.publish import changes_of, mark_announced, publish
from convrec.catalog.resolve import catalog_file
from convrec.catalog.versions import (
    find_version,
    load_checked,
    named,
    named_file,
    pin_version,
    published,
    unpublished,
    users,
)
from convrec.catalog.watch import watched
from convrec.cli.catalog import app
from convrec.config import ROOT, load
from convrec.errors import CatalogError
from convrec.stages.ingest import CATALOG

LINES = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8").splitlines()


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """The demo's catalog with one film less, one more, one renamed and one broken year more."""
    lines = [LINES[0], *LINES[2:]]
    lines[5] = lines[5].replace(lines[5].split(",")[0], lines[5].split(",")[0] + " (Restored)", 1)
    return write(tmp_path / "new.csv", [*lines, "Anatomy of a Fall,2023,Drama,,", "Odd,19,,,"])


def test_a_version_is_kept_with_what_it_changes(store: Store, edited: Path) -> None:
    made = publish(edited, "demo", store)
    assert (made.version.version, made.new, made.profiles) == (2, True, ["demo"])
    assert made.counts == {"added": 1, "removed": 1, "renamed": 1, "changed": 0}
    assert made.quarantine["reason"].str.contains("19").any()
    changes = changes_of(store, made.version)
    assert sorted(changes["change"]) == ["added", "removed", "renamed"]
    edited.unlink()
    assert made.version.path.read_text().endswith("Odd,19,,,\n")
    first, second = published(store)
    assert file_digest(first.path) == first.sha256 == file_digest(ROOT / "catalog" / "demo.csv")
    assert first.announced_at is not None
    assert second == made.version


def test_a_file_name_that_is_not_utf8_is_published(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "na\udcefve.csv", ["title,year", "Heat,1995", "Ronin,201"])
    made = publish(file, "films", store, yes=True)
    assert made.version.source == str(tmp_path / "na?ve.csv")
    assert made.quarantine["source"].to_list() == ["na?ve.csv"]
    assert published(store) == [made.version]


def test_the_same_items_are_published_once(store: Store, edited: Path) -> None:
    first = publish(edited, "demo", store)
    again = publish(edited, "demo", store)
    assert (again.new, again.version.version) == (False, first.version.version)
    assert again.to_announce  # nobody was told yet
    mark_announced(store, first.version)
    assert not publish(edited, "demo", store).to_announce


def test_a_profile_takes_the_newest_version_or_a_fixed_one(store: Store, edited: Path) -> None:
    demo = load("demo")
    shipped = ROOT / "catalog" / "demo.csv"
    assert catalog_file(demo) == shipped
    assert pin_version(demo, store) == demo
    made = publish(edited, "demo", store)
    assert catalog_file(demo) == made.version.path
    assert pin_version(demo, store).ingest.catalog == "catalog:demo@2"
    old = catalog_file(load("demo", {"ingest.catalog": "catalog:demo@1"}))
    assert old is not None
    assert file_digest(old) == file_digest(shipped)
    with pytest.raises(CatalogError, match="no version 9"):
        catalog_file(load("demo", {"ingest.catalog": "catalog:demo@9"}))
    with pytest.raises(CatalogError, match="there are 1, 2"):
        find_version(store, "demo", 9)
    assert "demo" in users("demo")
    assert users("nobodys") == []


def test_a_catalog_beside_the_data_is_taken_until_one_is_published(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "catalog.csv", LINES)
    config = load("reddit-v2", {"ingest.path": str(folder)})
    assert config.ingest.catalog == "catalog:reddit-v2"
    assert catalog_file(config) == folder / "catalog.csv"


@pytest.mark.parametrize("setting", ["catalog:Films", "catalog:", "catalog:a@x", "catalog:../a"])
def test_a_name_that_cannot_be_is_refused(setting: str) -> None:
    with pytest.raises(CatalogError):
        named(setting)


def test_what_shrinks_needs_to_be_confirmed(store: Store, tmp_path: Path) -> None:
    half = write(tmp_path / "half.csv", LINES[:100])
    with pytest.raises(CatalogError, match=r"lacks \d+ of the 204 items of demo.*--yes"):
        publish(half, "demo", store)
    assert [v.version for v in published(store)] == [1]  # what was in use
    assert publish(half, "demo", store, yes=True).version.version == 2
    broken = write(tmp_path / "broken.csv", [LINES[0], "Heat,1995,,,", "Heat,95,,,"])
    with pytest.raises(CatalogError, match=r"1 of 2 rows .* broken year '95'"):
        publish(broken, "other", store)


def test_an_edit_in_place_is_compared_with_what_was_built(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.catalog.versions.ROOT", tmp_path)
    monkeypatch.setattr("convrec.stages.ingest.files.ROOT", tmp_path)
    (tmp_path / "catalog").mkdir()
    file = write(tmp_path / "catalog" / "demo.csv", LINES)
    assert not any(watch.changed for watch in watched(store))
    built(store)
    assert not any(watch.changed for watch in watched(store))
    write(file, [LINES[0], *LINES[2:]])
    assert [w.file for w in watched(store) if w.changed] == [file]
    made = publish(file, "demo", store)
    assert (made.version.version, made.counts["removed"]) == (1, 1)
    assert made.version.compared_with.startswith("catalog-")
    assert not any(watch.changed for watch in watched(store))
    other = write(tmp_path / "other.csv", [LINES[0], *LINES[3:]])
    publish(other, "demo", store)
    assert not any(watch.changed for watch in watched(store))  # the file did not move
    assert unpublished(load("demo")) == ""
    write(file, [LINES[0], *LINES[4:]])
    assert "at published version 2" in unpublished(load("demo"))
    assert [w.name for w in watched(store) if w.changed] == ["demo"]


def built(store: Store) -> None:
    """A run of the demo that got as far as its catalog."""
    from convrec.stages.base import StepContext

    config = load("demo")
    ctx = StepContext(config, store)
    ref = store.put(CATALOG.spec(ctx), CATALOG.build(ctx))
    assert isinstance(CATALOG.build(ctx), StepResult)
    record: dict[str, Any] = {
        "flow_run_id": "r",
        "profile": "demo",
        "stages": [{"stage": "ingest", "kind": "catalog", "artifact_id": ref.artifact_id}],
        "config": config.model_dump(mode="json"),
    }
    folder = store.home / "runs"
    folder.mkdir()
    (folder / "r.json").write_text(json.dumps(record))
    (folder / "half.json").write_text("{")
    os.utime(folder / "half.json")


def test_an_unpublished_name_has_no_file() -> None:
    wanted = named("catalog:never-heard-of")
    assert wanted is not None
    assert named_file(wanted) is None


def test_a_name_that_no_catalog_has_is_refused_but_a_profile_may_wait_for_one(
    store: Store, edited: Path, tmp_path: Path
) -> None:
    publish(edited, "films", store)
    strange = {"ingest.catalog": "catalog:nosuch"}
    with pytest.raises(CatalogError, match=r"nosuch.* are demo, demo-books, films; `") as caught:
        load_checked("demo", strange)
    assert "\n" not in str(caught.value)
    for name in ("films", "films@1", "demo-books"):
        load_checked("demo", {"ingest.catalog": f"catalog:{name}"})
    own = tmp_path / "demo.toml"
    own.write_text('[ingest]\ncatalog = "catalog:nosuch"\n')
    assert load_checked(str(own), strange).ingest.catalog == "catalog:nosuch"
    with pytest.raises(CatalogError, match="elsewhere"):
        load_checked(str(own), {"ingest": {"catalog": "catalog:elsewhere"}})


def test_versions_and_what_one_changed_are_listed(store: Store, edited: Path) -> None:
    publish(edited, "demo", store)

    def told(*words: str) -> Any:
        done = CliRunner().invoke(app, ["versions", *words], catch_exceptions=False)
        assert done.exit_code == 0
        return json.loads(done.stdout) if "--json" in words else done.stdout

    assert [(row["name"], row["version"]) for row in told("demo", "--json", "-")] == [
        ("demo", 1),
        ("demo", 2),
    ]
    assert told("other", "--json", "-") == []
    assert "`convrec catalog publish FILE --name other`" in told("other")
    changes = told("demo@2", "--json", "-")
    assert sorted(row["change"] for row in changes) == ["added", "removed", "renamed"]
    assert "2 versions" in told()
    assert "3 changes of demo@2" in told("demo@2")
