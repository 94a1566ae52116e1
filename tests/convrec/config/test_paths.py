from __future__ import annotations

from pathlib import Path

import pytest

from convrec.config import home, load, resolve_path
from convrec.errors import InputError


@pytest.mark.parametrize("name", ["~no-such-user/x", "a\0b", "x" * 5000, "loop/x"])
def test_an_unusable_path_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError, match="choose another path"):
        resolve_path(name, "ingest.path")
    with pytest.raises(InputError, match="PROFILE="):
        load(f"{name}.toml")
    if "\0" not in name:
        monkeypatch.setenv("CONVREC_HOME", name)
        with pytest.raises(InputError, match="CONVREC_HOME"):
            home()


@pytest.mark.parametrize("name", ["file", "file/sub"])
def test_a_home_that_is_a_file_is_an_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / name))
    with pytest.raises(InputError, match=r"CONVREC_HOME=.*file is not a directory"):
        home()


@pytest.mark.parametrize("name", ["qu?k", "a?", "?", "a/b?c/d"])
def test_a_question_mark_in_the_home_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / name))
    with pytest.raises(InputError, match=r"a question mark \(\?\) in its name; choose another"):
        home()
    assert not list(tmp_path.iterdir())
