"""Fixtures that every test may use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from convrec.artifacts import Store
from convrec.artifacts.ducklake.lake import open_lake
from tests.support.servers import Postgres, postgres

settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")  # a busy machine is no failure


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data next to the checkout; tests that need it skip if it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared/data next to the checkout")
    return folder


@pytest.fixture(autouse=True)
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the project's warehouse."""
    monkeypatch.setenv("CONVREC_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A temporary Prefect server, one for all tests.

    Prefect sends the events of task runs to the first server of a process only.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server, shared by all tests of a run."""
    with postgres() as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests marked `on_ducklake` on a file, and in `make test-scale` also on DuckLake."""
    marked = metafunc.definition.get_closest_marker("on_ducklake")
    if marked and "warehouse" in metafunc.fixturenames:
        both = ["file", pytest.param("lake", marks=pytest.mark.scale)]
        metafunc.parametrize("warehouse", both, indirect=True)


@pytest.fixture
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The kind of warehouse of `store`: a file, or an empty lake."""
    kind = str(getattr(request, "param", "file"))
    if kind == "lake":
        server: Postgres = request.getfixturevalue("postgres_server")
        address = server.create_database(f"test_{uuid.uuid4().hex[:12]}")
        monkeypatch.setenv("CONVREC_WAREHOUSE", f"ducklake:postgres:{address}")
        monkeypatch.setenv("CONVREC_LAKE_DATA", str(tmp_path / "data"))
    yield kind
    if kind == "lake":
        open_lake.cache_clear()  # its database is used by this test only


@pytest.fixture
def store(warehouse: str, tmp_path: Path) -> Store:
    """An empty warehouse."""
    return Store(tmp_path / "home")
