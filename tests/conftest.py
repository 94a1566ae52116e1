"""Fixtures that every test may use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.artifacts.ducklake.lake import open_lake
from tests.servers import Postgres, postgres


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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server of these tests."""
    with postgres() as server:
        yield server


ON_BOTH = {
    "artifacts.test_runs",
    "artifacts.test_store",
    "artifacts.trace.test_conversation",
    "catalog.test_publish",
    "catalog.test_resolve",
    "catalog.test_versions",
    "catalog.test_watch",
    "cli.test_artifacts",
    "cli.test_catalog",
    "llm.batch.test_run",
    "llm.test_response_store",
    "operations.test_forget",
    "operations.test_gc",
    "stages.reflect.test_judgments",
    "stages.remap.test_incremental",
    "stages.remap.test_vector_store",
}
"""Modules whose tests of a `store` run on a file, and in `make test-scale` on DuckLake."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    name = metafunc.module.__name__.removeprefix("tests.convrec.")
    if "warehouse" in metafunc.fixturenames and name in ON_BOTH:
        both = ["file", pytest.param("lake", marks=pytest.mark.scale)]
        metafunc.parametrize("warehouse", both, indirect=True)


@pytest.fixture
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where a `store` is: a file, or a lake of its own."""
    where = str(getattr(request, "param", "file"))
    if where == "lake":
        server: Postgres = request.getfixturevalue("postgres_server")
        address = server.database(f"test_{uuid.uuid4().hex[:12]}")
        monkeypatch.setenv("CONVREC_WAREHOUSE", f"ducklake:postgres:{address}")
        monkeypatch.setenv("CONVREC_LAKE_DATA", str(tmp_path / "data"))
    yield where
    if where == "lake":
        open_lake.cache_clear()  # the instance goes with its lake


@pytest.fixture
def store(warehouse: str, tmp_path: Path) -> Store:
    """A fresh warehouse."""
    return Store(tmp_path / "home")
