"""The whole input of a run, read once a process however many steps ask for it."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from convrec.artifacts.frames import frame
from convrec.artifacts.identity import digest, file_digest
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.catalog.load import load_catalog
from convrec.catalog.resolve import catalog_file
from convrec.config import Config
from convrec.stages.ingest.files import (
    ConversationFile,
    RawRow,
    conversation_files,
    dialogue_file,
    entity_files,
    files_digest,
    raw_rows,
)
from convrec.stages.ingest.samples import usable

if TYPE_CHECKING:
    import polars as pl

    Frames = tuple[pl.DataFrame, pl.DataFrame]
    Found = tuple[pl.DataFrame | ParquetRows, pl.DataFrame]


class Source(NamedTuple):
    """Rows of the three kinds that ingest makes."""

    catalog: pl.DataFrame
    conversations: pl.DataFrame
    quarantine: pl.DataFrame


def read(config: Config) -> Source:
    """Read the catalog and the conversations of a run; quarantine holds the bad rows of both."""
    return Source(read_catalog(config)[0], read_conversations(config)[0], read_quarantine(config))


def read_quarantine(config: Config) -> pl.DataFrame:
    """The bad rows of the catalog and of the conversations."""
    import polars as pl

    return pl.concat([read_catalog(config)[1], find_conversations(config)[1]])


def read_catalog(config: Config) -> Frames:
    """(items, quarantine) of the catalog."""
    return _CATALOGS.get([catalog_config(config), catalog_inputs(config)], lambda: _catalog(config))


def read_conversations(config: Config) -> Frames:
    """(conversations, quarantine) of the data, whatever the catalog is; all rows at once."""
    found, bad = find_conversations(config)
    return found.frame() if isinstance(found, ParquetRows) else found, bad


def find_conversations(config: Config) -> Found:
    """(conversations, quarantine), the conversations in a file where they may be many."""
    key = [conversations_config(config), conversations_inputs(config)]
    with _uncollected():
        return _CONVERSATIONS.get(key, lambda: _conversations(config))


def catalog_config(config: Config) -> dict[str, Any]:
    """What can change the catalog's rows, besides the file: what it calls its columns."""
    if catalog_file(config) is None:
        return {"format": config.ingest.format}
    return {"columns": config.ingest.names} if config.ingest.columns else {}


def catalog_inputs(config: Config) -> dict[str, str]:
    """Digest of the catalog file, or of the entity files that stand in for it."""
    path = catalog_file(config)
    if path is not None:
        return {"catalog": file_digest(path)}
    return {"catalog": files_digest([(p.name, p) for p in entity_files(config)])}


def conversations_config(config: Config) -> dict[str, Any]:
    """What can change the conversations, besides the files."""
    chosen: dict[str, Any] = {"format": config.ingest.format, "limit": config.ingest.limit}
    if config.ingest.format == "demo":
        chosen |= {"seed": config.seed, "contexts": dict(config.ingest.contexts)}
    return chosen


def conversations_inputs(config: Config) -> dict[str, str]:
    """Digest of the conversations' files; for the demo, of the world that its posts come from."""
    if config.ingest.format == "demo":
        from convrec.demo.world import world_files

        return {
            "world": files_digest([(path.name, path) for path in world_files(config.ingest.world)])
        }
    if config.ingest.format == "reddit-v2":
        files = [(file.source, file.path) for file in conversation_files(config)]
        return {"conversations": files_digest(files)}
    files = [(path.name, path) for path in (dialogue_file(config), *entity_files(config))]
    return {"conversations": files_digest(files)}


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the search for cycles: there are none, and it would go through all samples each time.

    That is half of the time that ingest takes for as many samples as Reddit-v2 has.
    """
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


def _catalog(config: Config) -> Frames:
    path = catalog_file(config)
    if path is None:
        items: Frames = _entities(config).catalog()
        return items
    return load_catalog(path, config.ingest.names, years=config.recommend.years)


def _conversations(config: Config) -> Found:
    from convrec.stages.ingest.dialogues import read_dialogues
    from convrec.stages.ingest.reddit import read_rows
    from convrec.stages.ingest.sample_buffer import SampleBuffer

    limit = config.ingest.limit
    if config.ingest.format not in ("demo", "reddit-v2"):
        path = dialogue_file(config)
        rows, bad = read_dialogues(
            raw_rows(ConversationFile(path, path.name, "")), _entities(config), str(path)
        )
        samples = frame("conversations", rows)
        return usable(samples, bad, limit, str(path)), frame("quarantine", bad)
    shelf = SampleBuffer()
    if config.ingest.format == "demo":
        where = "the demo's generator"
        made = _demo_rows(config)
        placed, bad = read_rows(lambda: made, where, shelf)
    else:
        where = f"ingest.path={config.ingest.path}"
        files = conversation_files(config)
        placed, bad = read_rows(lambda: chain.from_iterable(map(raw_rows, files)), where, shelf)
    return shelf.parts(usable(placed, bad, limit, where)), frame("quarantine", bad)


def _entities(config: Config) -> Any:
    from convrec.stages.ingest.dialogues import Entities

    item_ids, entity2id = entity_files(config)
    return Entities(item_ids, entity2id, years=config.ingest.format != "inspired")


def _demo_rows(config: Config) -> list[RawRow]:
    from convrec.demo.posts import generate

    contexts = {str(split): count for split, count in config.ingest.contexts.items()}
    rows = generate(config.seed, contexts, config.ingest.world)
    return [
        RawRow("demo", "", line, value, "", json.dumps(value)) for line, value in enumerate(rows, 1)
    ]


T = TypeVar("T")


class _Last(Generic[T]):
    """Keeps the last result by the digest of its input; one thread reads, the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key = ""
        self._value: T | None = None

    def get(self, identity: Any, make: Callable[[], T]) -> T:
        key = digest(identity)
        with self._lock:
            if self._value is None or self._key != key:
                self._value = None
                self._value, self._key = make(), key
            return self._value


_CATALOGS: _Last[Frames] = _Last()
_CONVERSATIONS: _Last[Found] = _Last()
