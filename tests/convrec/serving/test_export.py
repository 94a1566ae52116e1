from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.errors import InputError
from convrec.serving.export import export_checkpoint


@pytest.mark.parametrize(
    "artifact", ["../catalogs", "checkpoint-../..", "checkpoint-", "/", "a\0b"]
)
def test_an_unknown_artifact_has_no_folder(artifact: str, store: Store, tmp_path: Path) -> None:
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
