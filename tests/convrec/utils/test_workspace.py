"""Working folders: found again by the next run, used by one process at a time."""

from __future__ import annotations

from pathlib import Path

from convrec.utils.workspace import remove_workspace, workspace


def test_a_folder_is_found_again_until_it_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "training" / "checkpoint-1"
    with workspace(folder) as first:
        (first / "file").write_text("kept")
    with workspace(folder) as second:
        assert second == folder
        assert (second / "file").read_text() == "kept"
    remove_workspace(folder)
    assert not folder.exists()
    remove_workspace(folder)


def test_a_folder_in_use_is_neither_shared_nor_removed(tmp_path: Path) -> None:
    with workspace(tmp_path / "one") as first:
        (first / "file").write_text("mine")
        with workspace(tmp_path / "one") as second:
            assert second != first
            assert not list(second.iterdir())
        assert not second.exists()
        remove_workspace(first)
        assert (first / "file").exists()


def test_a_run_without_a_folder_gets_a_temporary_one() -> None:
    with workspace(None) as folder:
        assert folder.is_dir()
    assert not folder.exists()
