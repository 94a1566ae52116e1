"""Reads the input of a run. The latest catalog and conversations are cached per process."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.artifacts.identity import digest
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.catalog.load import load_catalog
from convrec.catalog.resolve import catalog_file
from convrec.config import Config
from convrec.demo.posts import generate_rows
from convrec.stages.ingest.dialogues import Entities, read_dialogues
from convrec.stages.ingest.files import conversation_files, dialogue_file, entity_files
from convrec.stages.ingest.identity import (
    catalog_config,
    catalog_inputs,
    conversations_config,
    conversations_inputs,
)
from convrec.stages.ingest.raw_rows import ConversationFile, RawRow, read_raw_rows
from convrec.stages.ingest.reddit import read_reddit_rows
from convrec.stages.ingest.sample_buffer import SampleBuffer
from convrec.stages.ingest.samples import select_samples

T = TypeVar("T")
Frames = tuple[pl.DataFrame, pl.DataFrame]
"""(usable rows, quarantine)"""

StoredRows = tuple[pl.DataFrame | ParquetRows, pl.DataFrame]
"""(usable rows, possibly in a file, and quarantine)"""


class IngestedData(NamedTuple):
    """The rows of the three artifact kinds of ingest."""

    catalog: pl.DataFrame
    conversations: pl.DataFrame
    quarantine: pl.DataFrame


def read_data(config: Config) -> IngestedData:
    """Read the catalog and the conversations; the quarantine has the unusable rows of both."""
    items, _ = read_catalog(config)
    conversations, _ = read_conversations(config)
    return IngestedData(items, conversations, read_quarantine(config))


def read_catalog(config: Config) -> Frames:
    """(items, quarantine) of the catalog."""
    key = [catalog_config(config), catalog_inputs(config)]
    return _LATEST_CATALOG.get(key, lambda: _read_catalog(config))


def read_conversations(config: Config) -> Frames:
    """(conversations, quarantine) of the data, in memory."""
    rows, bad = load_conversations(config)
    return rows.frame() if isinstance(rows, ParquetRows) else rows, bad


def load_conversations(config: Config) -> StoredRows:
    """(conversations, quarantine) of the data, with the conversations in a file if large."""
    key = [conversations_config(config), conversations_inputs(config)]
    with _gc_paused():
        return _LATEST_CONVERSATIONS.get(key, lambda: _read_conversations(config))


def read_quarantine(config: Config) -> pl.DataFrame:
    """The unusable rows of the catalog, then those of the conversations."""
    return pl.concat([read_catalog(config)[1], load_conversations(config)[1]])


@contextlib.contextmanager
def _gc_paused() -> Iterator[None]:
    """Pause garbage collection, which would otherwise take half the time of a large ingest.

    Each collection visits all samples, and they have no reference cycles.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read_catalog(config: Config) -> Frames:
    path = catalog_file(config)
    if path is None:
        return _entities(config).catalog()
    return load_catalog(path, config.ingest.column_names, years=config.recommend.years)


def _read_conversations(config: Config) -> StoredRows:
    limit = config.ingest.limit
    if config.ingest.format not in ("demo", "reddit-v2"):
        path = dialogue_file(config)
        raw_rows = read_raw_rows(ConversationFile(path, path.name, ""))
        rows, bad = read_dialogues(raw_rows, _entities(config), str(path))
        samples = artifact_frame("conversations", rows)
        return select_samples(samples, bad, limit, str(path)), artifact_frame("quarantine", bad)
    buffer = SampleBuffer()
    if config.ingest.format == "demo":
        where = "the demo's generator"
        generated = _demo_rows(config)
        ids, bad = read_reddit_rows(lambda: generated, where, buffer)
    else:
        where = f"ingest.path={config.ingest.path}"
        files = conversation_files(config)
        ids, bad = read_reddit_rows(
            lambda: chain.from_iterable(map(read_raw_rows, files)), where, buffer
        )
    selected = select_samples(ids, bad, limit, where)
    return buffer.write_conversations(selected), artifact_frame("quarantine", bad)


def _entities(config: Config) -> Entities:
    item_ids, entity2id = entity_files(config)
    return Entities(item_ids, entity2id, years=config.ingest.format != "inspired")


def _demo_rows(config: Config) -> list[RawRow]:
    contexts = {str(split): count for split, count in config.ingest.contexts.items()}
    rows = generate_rows(config.seed, contexts, config.ingest.world)
    return [
        RawRow("demo", "", line, value, "", json.dumps(value)) for line, value in enumerate(rows, 1)
    ]


class _LatestValue(Generic[T]):
    """Caches the latest value. One thread computes it while others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = ""
        self._value: T | None = None

    def get(self, identity: Any, compute: Callable[[], T]) -> T:
        """The cached value if it was computed for the same `identity`, else a new one."""
        key = digest(identity)
        with self._lock:
            if self._value is None or self._key != key:
                self._value = None
                self._value, self._key = compute(), key
            return self._value


_LATEST_CATALOG: _LatestValue[Frames] = _LatestValue()
_LATEST_CONVERSATIONS: _LatestValue[StoredRows] = _LatestValue()
