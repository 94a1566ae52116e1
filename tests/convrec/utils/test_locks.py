"""File locks between processes; a second handle in one process behaves as another process."""

from __future__ import annotations

from pathlib import Path

import pytest

from convrec.utils.locks import file_lock, try_file_lock


def test_a_held_lock_is_taken_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path), try_file_lock(path) as free:
        assert not free
    with try_file_lock(path) as free:
        assert free


def test_shared_locks_exclude_only_exclusive_ones(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path, shared=True):
        with try_file_lock(path, shared=True) as free:
            assert free
        with try_file_lock(path) as free:
            assert not free


def test_a_lock_keeps_the_content_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "claims"
    path.write_text("key\n")
    with file_lock(path):
        pass
    with try_file_lock(path) as free:
        assert free
    assert path.read_text() == "key\n"


def test_a_lock_on_a_deleted_file_counts_as_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"

    def delete_while_waiting(*_: object) -> None:
        path.unlink()

    monkeypatch.setattr("convrec.utils.locks.fcntl.flock", delete_while_waiting)
    with try_file_lock(path) as free:
        assert not free


def test_a_missing_file_can_be_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), try_file_lock(tmp_path / "none", create=False):
        pass
