"""A small catalog, two contexts, their teacher lists, and the demo server over real HTTP."""

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
from convrec.demo import EMBEDDERS, embed, server
from convrec.stages.base import StepContext
from convrec.stages.remap import SIMILARITY_BASIS
from tests.support.films import FILMS, film_catalog

LISTS = [
    ("c1", 1, "Heat", 1995),
    ("c1", 2, "Unknown Film", 2001),
    ("c2", 1, "Alien", 1979),
    ("c2", 2, "Notting Hill", None),
]


@pytest.fixture
def make_ctx(store: Store) -> Callable[..., StepContext]:
    """A step context over FILMS or other films, with settings such as `remap__keep=40`."""

    def make(films: Any = FILMS, lists: Any = LISTS, **settings: object) -> StepContext:
        frames = {
            "catalog": film_catalog(films),
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
        overrides = {key.replace("__", "."): value for key, value in settings.items()}
        config = load("demo", {"remap.describe": "off", **overrides})
        frames["similarity_basis"] = SIMILARITY_BASIS.build(
            StepContext(config, store, frames=frames)
        ).rows
        return StepContext(config, store, {}, frames=frames)

    return make


class Embedder:
    """The demo server; logs the texts that it embeds."""

    def __init__(self, log: Path) -> None:
        self._file = log.open("a", encoding="utf-8")
        self._log = log
        self.rejecting = False
        listener = server.bind(0)
        self.url = server.base_url(listener)
        self.texts: list[list[str]] = []

        def log_texts(body: dict[str, Any]) -> dict[str, Any]:
            if self.rejecting:
                raise ValueError("not today")
            self.texts.append(list(body["input"]))
            return embed(body)

        app = server.create_app(
            lambda body: {}, [], embed=log_texts, embedders=EMBEDDERS, log=self._file
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
    embedder = Embedder(tmp_path / "server.jsonl")
    yield embedder
    embedder.close()


@pytest.fixture
def openai(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings for `make_ctx` that embed through the demo server."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return {
        "remap__similarity": "openai",
        "remap__model": "demo-embedder",
        "llm__base_url": embedder.url,
        "llm__endpoint": "test",
    }
