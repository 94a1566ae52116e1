"""A name that becomes a file stays in its folder; what is written goes where it was asked to go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.catalog.publish import publish
from convrec.catalog.resolve import catalog_file
from convrec.config import load
from convrec.errors import InputError
from convrec.serving.export import export_checkpoint
from convrec.stages.ingest.files import conversation_files

NAMES = ["../evil", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\0b", ".hidden", "A", "x" * 65]


@pytest.mark.parametrize("name", NAMES)
def test_a_catalog_is_published_under_a_plain_name(name: str, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "catalog.csv"
    file.write_text("title,year\nHeat,1995\n")
    with pytest.raises(InputError, match="cannot name a catalog"):
        publish(file, name, store)
    with pytest.raises(InputError, match="cannot name a catalog"):
        catalog_file(load("demo", {"ingest.catalog": f"catalog:{name}"}))
    assert not (store.home / "catalogs").exists()


@pytest.mark.parametrize("name", ["../secret", "..", ".", "", "/etc", "a/b", "a\\b", "a\0b", None])
@pytest.mark.parametrize("whose", ["splits", "files"])
def test_a_datasets_folder_reads_nothing_beside_it(
    name: object, whose: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for where in (tmp_path / "secret", folder):
        where.mkdir(exist_ok=True)
        state = {"_data_files": [{"filename": name if whose == "files" else "x.arrow"}]}
        (where / "state.json").write_text(json.dumps(state))
        (where / "x.arrow").write_bytes(b"")
    if whose == "splits":
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(InputError, match="no file or folder beside it"):
        conversation_files(load("reddit-v2", {"ingest.path": str(folder)}))


@pytest.mark.parametrize(
    "artifact", ["../catalogs", "checkpoint-../..", "checkpoint-", "/", "a\0b"]
)
def test_an_artifact_that_the_warehouse_does_not_know_has_no_folder(
    artifact: str, store: Store, tmp_path: Path
) -> None:
    assert store.find(artifact) is None
    with pytest.raises(InputError, match="no artifact"):
        store.read(artifact)
    with pytest.raises(InputError):
        export_checkpoint(store, artifact, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_overwrites_nothing(store: Store, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "thesis.txt").write_text("mine")
    (tmp_path / "link").symlink_to(kept)
    for out in (kept, tmp_path / "link", kept / "thesis.txt"):
        with pytest.raises(InputError, match="not empty"):
            export_checkpoint(store, "checkpoint-x", out)
    assert (kept / "thesis.txt").read_text() == "mine"
