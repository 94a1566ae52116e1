from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.model_folders import save_model


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A healthy folder of our own, to be broken."""
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))
    return Path(shutil.copytree(llama, tmp_path / "student"))
