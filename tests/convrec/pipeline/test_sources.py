from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.config import Config, load
from convrec.config.schema import source_config
from convrec.errors import ConfigError
from convrec.pipeline.graph import NODES, PIPELINE
from convrec.pipeline.sources import adopted
from convrec.stages.base import StepContext
from convrec.stages.sft.build import training_splits

OTHER = {"recommend": {"source": "provided"}, "ingest": {"format": "reddit-v2", "path": "else"}}


def with_sources(**sources: Any) -> Config:
    return load("demo", {"list_length": 2, "sources": sources})


def test_a_source_is_the_profile_with_its_own_settings() -> None:
    config = with_sources(other=OTHER)
    made = source_config(config, "other")
    assert (made.ingest.format, made.ingest.path, made.recommend.source) == (
        "reddit-v2",
        "else",
        "provided",
    )
    assert made.sources == {}
    assert made.recommend.model == config.recommend.model
    assert made.model_copy(
        update={"ingest": config.ingest, "recommend": config.recommend, "sources": config.sources}
    ) == (config)


def test_a_profile_with_sources_reads_their_teacher_lists() -> None:
    config, plain = with_sources(a=OTHER, b={}), load("demo")
    skipped = {node.name for node in PIPELINE if node.skipped(config)}
    assert skipped >= {"teacher_lists", "candidates", "judgments", "adjustment", "demonstrations"}
    assert not skipped & {"catalog", "conversations", "checkpoint_sft", "report"}
    node = NODES["checkpoint_sft"]
    assert node.inputs(plain) == node.reads
    refs = {"conversations": 1, "demonstrations": 2, "catalog": 3}
    assert set(node.inputs(config)) - set(node.reads) == {
        *adopted("a", refs),
        *adopted("b", refs),
    }


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"a": {"ingest": {"fromat": "x"}}}, "sources.a.ingest.fromat"),
        ({"a": {"recommend": {"source": "replay"}}}, "sources.a: recommend.source=replay needs"),
        ({"a": {"recommend": {"years": False}}}, "sources.a.recommend.years differs"),
        ({"a": {"sft": {"epochs": 1}}}, "sources.a.sft"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(sources: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("demo", {"sources": sources})
    assert words in str(caught.value)


def talks(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(name, name, split, text, None) for name, split, text in rows],
        schema=["sample_id", "context_id", "split", "conversation", "prompt"],
        orient="row",
    )


def lists(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [(name, None, split, text) for name, split, text in rows],
        schema=["context_id", "sample_id", "split", "completion"],
        orient="row",
    )


def test_lessons_are_cut_and_never_held_out(store: Store) -> None:
    config = with_sources(a=OTHER).model_copy(
        update={"model": load("demo", {"model.prompt": "plain"}).model}
    )
    frames = {
        "conversations": talks(("own", "test", "held out"), ("mine", "validation", "kept")),
        "a:conversations": talks(
            ("1", "train", "long"), ("2", "train", "held out"), ("3", "validation", "kept")
        ),
        "a:demonstrations": lists(
            ("1", "train", "A (2001)\nB (2002)\nC (2003)"),
            ("2", "train", "A (2001)\nB (2002)"),
            ("3", "validation", "B (2002)"),
        ),
    }
    lessons = training_splits(StepContext(config, store, frames=frames))
    assert lessons == {
        "train": [("long", "A (2001)\nB (2002)")],
        "validation": [("kept", "B (2002)")],
    }
