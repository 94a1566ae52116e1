from __future__ import annotations

import json
from pathlib import Path

import pytest

from convrec.config import load
from convrec.errors import InputError
from convrec.stages.ingest.files import conversation_files


@pytest.mark.parametrize("name", ["../secret", "..", ".", "", "/etc", "a/b", "a\\b", "a\0b", None])
@pytest.mark.parametrize("key", ["splits", "files"])
def test_a_datasets_folder_reads_only_its_files(name: object, key: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for where in (tmp_path / "secret", folder):
        where.mkdir(exist_ok=True)
        state = {"_data_files": [{"filename": name if key == "files" else "x.arrow"}]}
        (where / "state.json").write_text(json.dumps(state))
        (where / "x.arrow").write_bytes(b"")
    if key == "splits":
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": [name]}))
    with pytest.raises(InputError, match="not a file or folder next to it"):
        conversation_files(load("reddit-v2", {"ingest.path": str(folder)}))
