"""Teacher and judge asked about made-up contexts, at a scripted endpoint and without ingest."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.config import Config
from convrec.llm.fetch import FetchResult
from convrec.stages.base import Step, StepContext
from convrec.stages.recommend import TEACHER_LISTS
from convrec.stages.reflect import JUDGMENTS
from convrec.stages.responses import fetch_responses
from tests.support.llm_endpoint import completion

FILMS = [("Heat", 1995), ("Alien", 1979), ("Ronin", 1998)]
LIST = "1. Heat (1995)\n2. Alien (1979)\n3. Ronin (1998)"
RATINGS = json.dumps({"ratings": [{"candidate": n, "rating": 1} for n in (1, 2, 3)]})


def stage_config(url: str, **changes: Any) -> Config:
    """A configuration of both stages; keys of `changes` name sections."""
    llm = {"base_url": url, "endpoint": "test", "max_concurrency": 4, **changes.pop("llm", {})}
    recommend = {"model": "demo-teacher", **changes.pop("recommend", {})}
    reflect = {"model": "demo-judge", "passes": 1, "top": 3, **changes.pop("reflect", {})}
    sections = {"llm": llm, "recommend": recommend, "reflect": reflect}
    return Config.model_validate({"list_length": 3, **sections, **changes})


def stage_context(config: Config, store: Store, contexts: int) -> StepContext:
    """What both stages read, for contexts whose posts are `post 0`, `post 1` …"""
    ids = [f"c{n:03}" for n in range(contexts)]
    items = [f"{title} ({year})" for title, year in FILMS]
    pairs = [(each, item, rank) for each in ids for rank, item in enumerate(items, 1)]
    candidates = pl.DataFrame(pairs, schema=["context_id", "item_id", "rank"], orient="row")
    catalog = pl.DataFrame(FILMS, schema=["title", "year"], orient="row")
    frames = {
        "conversations": pl.DataFrame(
            {"context_id": ids, "conversation": [f"post {n}" for n in range(contexts)]}
        ),
        "catalog": catalog.select(pl.Series("item_id", items), "title", "year"),
        "candidates": candidates.with_columns(score=1.0 / pl.col("rank")),
    }
    return StepContext(config, store, frames=frames)


def ask_teacher(config: Config, store: Store, contexts: int, run: str = "r") -> FetchResult:
    """Fetch the teacher's answers."""
    return _ask(TEACHER_LISTS, config, store, contexts, run)


def ask_judge(config: Config, store: Store, contexts: int, run: str = "r") -> FetchResult:
    """Fetch the judge's answers."""
    return _ask(JUDGMENTS, config, store, contexts, run)


def _ask(step: Step, config: Config, store: Store, contexts: int, run: str) -> FetchResult:
    ctx = stage_context(config, store, contexts)
    return fetch_responses(step, ctx, run=run, spent_usd=0.0, progress=lambda *_: None)


def said(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A completion that ends with `finish` and has more fields in its message."""
    body = completion("")
    body["choices"][0]["finish_reason"] = finish
    body["choices"][0]["message"] |= {"content": text, **message}
    return body


def post_number(body: dict[str, Any]) -> int:
    """The number of the post that a request is about."""
    return int(body["messages"][1]["content"].partition("post ")[2].split()[0].split("<")[0])


def is_repair(body: dict[str, Any]) -> bool:
    """Whether a request of the judge asks for a better answer."""
    return len(body["messages"]) > 2
