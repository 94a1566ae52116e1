"""A small catalog, two contexts and their teacher lists, and the demo's server over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.config import load
from convrec.demo import server
from convrec.stages.base import StepContext
from convrec.stages.remap import SIMILARITY_BASIS

FILMS = [
    ("Alien", 1979, ["Horror", "Sci-Fi"]),
    ("Aliens", 1986, ["Action", "Sci-Fi"]),
    ("Heat", 1995, ["Crime"]),
    ("Notting Hill", 1999, ["Comedy", "Romance"]),
]
LISTS = [
    ("c1", 1, "Heat", 1995),
    ("c1", 2, "Unknown Film", 2001),
    ("c2", 1, "Alien", 1979),
    ("c2", 2, "Notting Hill", None),
]


def catalog_of(films: list[tuple[str, int, list[str]]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": [f"{title} ({year})" for title, year, _ in films],
            "title": [title for title, _, _ in films],
            "year": [year for _, year, _ in films],
            "aliases": [[] for _ in films],
            "genres": [genres for _, _, genres in films],
            "text": [""] * len(films),
        },
        schema_overrides={"year": pl.Int32, "aliases": pl.List(pl.String)},
    )


@pytest.fixture
def make_job(store: Store) -> Callable[..., StepContext]:
    """A job over FILMS, or other films, with settings such as `remap__keep=40`."""

    def make(films: Any = FILMS, lists: Any = LISTS, **settings: object) -> StepContext:
        frames = {
            "catalog": catalog_of(films),
            "conversations": pl.DataFrame(
                {
                    "context_id": ["c1", "c1", "c2"],
                    "split": ["train"] * 3,
                    "conversation": ["USER: crime please"] * 2 + ["USER: romance, no horror"],
                    "prompt": [""] * 3,
                    "seen": [[], [], []],
                }
            ),
            "teacher_lists": pl.DataFrame(
                lists, schema=["context_id", "rank", "title", "year"], orient="row"
            ).with_columns(pl.lit("").alias("line"), pl.col("year").cast(pl.Int32)),
        }
        config = load("demo", {key.replace("__", "."): value for key, value in settings.items()})
        frames["similarity_basis"] = SIMILARITY_BASIS.build(
            StepContext(config, store, frames=frames)
        ).rows
        return StepContext(config, store, {}, frames=frames)

    return make


class Embedder:
    """The demo's server, with a log of what it was asked."""

    def __init__(self, log: Path) -> None:
        self._file = log.open("a", encoding="utf-8")
        self._log = log
        self.refuse = False
        listener = server.bind(0)
        self.url = server.base_url(listener)
        self.texts: list[list[str]] = []
        from convrec.demo import EMBEDDERS, embed

        def noted(body: dict[str, Any]) -> dict[str, Any]:
            if self.refuse:
                raise ValueError("not today")
            self.texts.append(list(body["input"]))
            return embed(body)

        app = server.create_app(
            lambda body: {}, [], embed=noted, embedders=EMBEDDERS, log=self._file
        )
        self._server = server.create_server(app)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, daemon=True
        )
        self._thread.start()

    @property
    def outcomes(self) -> list[str]:
        return [json.loads(line)["outcome"] for line in self._log.read_text().splitlines()]

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._file.close()


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[Embedder]:
    running = Embedder(tmp_path / "server.jsonl")
    yield running
    running.close()


@pytest.fixture
def openai(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings for `make_job` that embed through the demo's server."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return {
        "remap__similarity": "openai",
        "remap__model": "demo-embedder",
        "llm__base_url": embedder.url,
        "llm__endpoint": "test",
    }
