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

from tests.golden.worlds import SMALL, Asked, Demo, make_demo, make_reddit, run, write_reddit

HERE = Path(__file__).parent

MISSING = "(missing)"
SHOWN = 20


class Golden(Protocol):
    """Compares a value with tests/golden/NAME.json.

    `nearly` allows for rounding. `more` allows for further keys at the top level.
    """

    def __call__(
        self, name: str, value: Any, *, nearly: bool = False, more: bool = False
    ) -> None: ...


def differences(found: Any, known: Any, path: str, *, nearly: bool) -> Iterator[str]:
    """One line per place where two JSON values differ; `nearly` allows for rounding."""
    if isinstance(found, dict) and isinstance(known, dict):
        for key in sorted(found.keys() | known.keys()):
            inner = (found.get(key, MISSING), known.get(key, MISSING))
            yield from differences(*inner, f"{path}.{key}", nearly=nearly)
    elif isinstance(found, list) and isinstance(known, list) and len(found) == len(known):
        for number, inner in enumerate(zip(found, known, strict=True)):
            yield from differences(*inner, f"{path}[{number}]", nearly=nearly)
    elif found != known and not (nearly and close(found, known)):
        yield f"{path}: {found!r:.300}, golden: {known!r:.300}"


def close(found: Any, known: Any) -> bool:
    """Whether two numbers differ only by rounding."""
    numbers = isinstance(found, float | int) and isinstance(known, float | int)
    return numbers and bool(found == pytest.approx(known, rel=1e-4, abs=2e-4))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a value with tests/golden/NAME.json; with WRITE_GOLDEN=1, write it there."""

    def check(name: str, value: Any, *, nearly: bool = False, more: bool = False) -> None:
        path = HERE / f"{name}.json"
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        if os.environ.get("WRITE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
            return
        found, known = json.loads(text), json.loads(path.read_text(encoding="utf-8"))
        if more:
            found = {key: inner for key, inner in found.items() if key in known}
        lines = list(differences(found, known, name, nearly=nearly))
        if lines:
            pytest.fail("\n".join([f"{len(lines)} differences", *lines[:SHOWN]]), pytrace=False)

    return check


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
