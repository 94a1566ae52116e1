"""Atomic writes: the old file or the new one, never a part."""

from __future__ import annotations

from pathlib import Path

import pytest

from convrec.utils.files import atomic_folder, atomic_path


def test_a_file_is_replaced_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    with atomic_path(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as part:
        _write_half(part)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _write_half(path: Path) -> None:
    path.write_text("half")
    raise ZeroDivisionError


def test_a_missing_parent_raises_the_error_of_the_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError), atomic_path(tmp_path / "file" / "inside") as part:
        part.write_text("")


def test_a_folder_appears_when_the_block_succeeds(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with atomic_folder(folder) as part:
        (part / "config.json").write_text("{}")
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_with_content_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(OSError, match="not empty"), atomic_folder(folder) as part:
        (part / "other.json").write_text("{}")
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert list(tmp_path.iterdir()) == [folder]
