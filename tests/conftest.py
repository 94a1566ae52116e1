"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from convrec.artifacts import Store


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return folder


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has published in the project's warehouse is in no test."""
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh warehouse."""
    return Store(tmp_path / "home")
