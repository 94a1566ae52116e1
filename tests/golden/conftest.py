"""Golden values: what must not change while the package is rebuilt, kept in `tests/golden/*.json`.

The values are compared, never written, unless that is asked for:

    WRITE_GOLDEN=1 python -m pytest tests/golden

writes every file anew (pretty-printed, keys sorted) and passes; the change is then read with
`git diff tests/golden`. A value that differs on purpose is a change of a contract, and belongs in
CHANGELOG.md.

One Prefect server and one warehouse with a whole tiny run serve all tests here (`demo`). What a
run writes is looked at through the command line, SQL and Prefect's API; the few names of the
package that cannot be avoided stand in `access.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tests.golden.worlds import SMALL, Asked, Demo, make_demo, make_reddit, run, write_reddit

HERE = Path(__file__).parent

Golden = Callable[[str, Any], None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a value with tests/golden/NAME.json, or write it there with WRITE_GOLDEN=1."""

    def check(name: str, value: Any) -> None:
        path = HERE / f"{name}.json"
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if os.environ.get("WRITE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
            return
        assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))

    return check


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server of these tests."""
    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def demo(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The whole demo in the smallest size, run twice."""
    return make_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def books(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """The demo of the other domain, up to adjust."""
    home = tmp_path_factory.mktemp("books")
    return Asked(home, run("demo-books", SMALL, home, "--until", "adjust"), [])


@pytest.fixture(scope="session")
def reddit_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with posts and a catalog in the authors' schema."""
    return write_reddit(tmp_path_factory.mktemp("files") / "reddit")


@pytest.fixture(scope="session")
def reddit(
    prefect_server: None, reddit_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Asked:
    """Reddit-v2 with a live teacher, judge and embedder, up to adjust."""
    home = tmp_path_factory.mktemp("reddit")
    return make_reddit(home, reddit_files, **{"remap.similarity": "openai"})


@pytest.fixture(scope="session")
def reasoning(
    prefect_server: None, reddit_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Asked:
    """The same with models that reason, and an endpoint that knows no schema."""
    changes = {
        "recommend.model": "o4-mini",
        "recommend.max_tokens": 4000,
        "recommend.years": False,
        "reflect.model": "o4-mini",
        "reflect.max_tokens": 4000,
        "reflect.passes": 1,
        "reflect.response_format": "json_object",
        "reflect.scale": 3,
        "domain": "film",
    }
    return make_reddit(tmp_path_factory.mktemp("reasoning"), reddit_files, **changes)
