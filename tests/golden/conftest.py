"""Golden tests compare the public contracts with the values in `tests/golden/*.json`.

A normal run only compares. To rewrite the files (pretty-printed, sorted keys):

    WRITE_GOLDEN=1 python -m pytest tests/golden

Review the result with `git diff tests/golden`. A value that changes on purpose changes a contract:
say so in CHANGELOG.md. Prose (help texts, messages, reasons) is not compared.

The tests share one Prefect server and one complete tiny run (`demo`). They inspect runs through
the command line, SQL and Prefect's API; `access.py` holds the few imports from the package.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tests.golden.worlds import SMALL, Asked, Demo, make_demo, make_reddit, run, write_reddit

HERE = Path(__file__).parent


class Golden(Protocol):
    """Compares a value with tests/golden/NAME.json; `nearly` allows for rounding."""

    def __call__(self, name: str, value: Any, *, nearly: bool = False) -> None: ...


def near(value: Any, known: Any) -> Any:
    """`value`, with each number that equals the known one but for rounding replaced by it."""
    if isinstance(value, dict) and isinstance(known, dict):
        return {key: near(inner, known.get(key)) for key, inner in value.items()}
    if isinstance(value, list) and isinstance(known, list) and len(value) == len(known):
        return [near(*pair) for pair in zip(value, known, strict=True)]
    numbers = isinstance(value, float | int) and isinstance(known, float | int)
    return known if numbers and value == pytest.approx(known, rel=1e-4, abs=2e-4) else value


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a value with tests/golden/NAME.json; with WRITE_GOLDEN=1, write it there."""

    def check(name: str, value: Any, *, nearly: bool = False) -> None:
        path = HERE / f"{name}.json"
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if os.environ.get("WRITE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
            return
        found, known = json.loads(text), json.loads(path.read_text(encoding="utf-8"))
        assert (near(found, known) if nearly else found) == known

    return check


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A temporary Prefect server."""
    with (
        prefect_test_harness(server_startup_timeout=90),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def demo(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The complete demo in a tiny size, run twice."""
    return make_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def books(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """The books demo up to adjust."""
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
    """The same with reasoning models and an endpoint without JSON schemas."""
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
