"""Reads the input of a run, and names what identifies it: settings and digests of the files.

The latest catalog and conversations are cached per process.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.artifacts.identity import digest, file_digest
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.catalog.hub_data import hub_data, is_downloaded
from convrec.catalog.load import read_configured_catalog
from convrec.catalog.rows import CollectedItems
from convrec.catalog.selection import catalog_file, hub_catalog
from convrec.config import Config
from convrec.stages.ingest.files import entity_files
from convrec.stages.ingest.formats import FORMATS, Frames, StoredRows
from convrec.stages.ingest.ground_truth_catalog import GroundTruthCatalog, ground_truth_catalog
from convrec.stages.ingest.skipped import skipped_rows
from convrec.utils.latest_value import LatestValue

_LATEST_CATALOG: LatestValue[CollectedItems] = LatestValue()
_LATEST_NAMED: LatestValue[GroundTruthCatalog] = LatestValue()
_LATEST_CONVERSATIONS: LatestValue[StoredRows] = LatestValue()
_LATEST_READING: LatestValue[str] = LatestValue()

SECOND_READING = "2"
"""Input of an artifact whose rows an earlier version of convrec would have read differently.

Other artifacts keep the ids that they had.
"""


class IngestedData(NamedTuple):
    """The rows of the three artifact kinds of ingest."""

    catalog: pl.DataFrame
    conversations: pl.DataFrame
    quarantine: pl.DataFrame


def catalog_config(config: Config) -> dict[str, Any]:
    """The settings that can change the catalog's rows."""
    has_file = hub_catalog(config) or catalog_file(config)
    keys = ("columns", "year_in_title") if has_file else ("format",)
    settings = config.ingest.identity_settings(*keys)
    if not is_from_ground_truth(config):
        return settings
    chosen = config.ingest.identity_settings("catalog_from", "catalog_min_count")
    return settings | conversations_config(config) | chosen


def is_from_ground_truth(config: Config) -> bool:
    """Whether the conversations decide on the items of the catalog."""
    return config.ingest.catalog_from == "ground_truth"


def catalog_inputs(config: Config) -> dict[str, str]:
    """Digest of the catalog file, or of the entity files that replace it; the commit on the Hub.

    With `ingest.catalog_from=ground_truth`, also that of the conversations.
    """
    if not is_from_ground_truth(config):
        return _catalog_file_inputs(config)
    file = _catalog_file_inputs(config) if config.ingest.catalog else {}
    return file | conversations_inputs(config)


def _catalog_file_inputs(config: Config) -> dict[str, str]:
    if source := hub_catalog(config):
        return {"catalog": str(source)}
    path = catalog_file(config)
    if path is not None:
        inputs = {"catalog": file_digest(path)}
        is_new = _catalog_file_content(path, config, inputs).is_new
        return inputs | ({"catalog_reading": SECOND_READING} if is_new else {})
    if source := hub_data(config):
        return {"catalog": str(source)}
    return {"catalog": _files_digest([(path.name, path) for path in entity_files(config)])}


def conversations_config(config: Config) -> dict[str, Any]:
    """The settings that can change the conversations."""
    settings = config.ingest.identity_settings("format", "limit")
    return settings | FORMATS[config.ingest.format].settings(config)


def conversations_inputs(config: Config) -> dict[str, str]:
    """Digest of the files that the conversations are read from, or their commit on the Hub."""
    input_format = FORMATS[config.ingest.format]
    if config.ingest.format != "demo" and (source := hub_data(config)):
        return {input_format.digest_name: str(source)}
    inputs = {input_format.digest_name: _files_digest(input_format.files(config))}
    reading = _LATEST_READING.get(
        digest([config.ingest.format, inputs]),
        lambda: "new" if input_format.is_read_differently(config) else "plain",
    )
    return inputs | ({"conversations_reading": SECOND_READING} if reading == "new" else {})


def is_input_local(config: Config) -> bool:
    """Whether the conversations and the catalog can be read without a download."""
    sources = (hub_data(config) if config.ingest.format != "demo" else None, hub_catalog(config))
    return all(source is None or is_downloaded(source) for source in sources)


def _files_digest(files: list[tuple[str, Path]]) -> str:
    return digest([[name, file_digest(path)] for name, path in files])


def read_data(config: Config) -> IngestedData:
    """Read the catalog and the conversations; the quarantine has the unusable rows of both."""
    return IngestedData(
        read_catalog(config)[0], read_conversations(config)[0], read_quarantine(config)
    )


def read_catalog(config: Config) -> Frames:
    """(items, quarantine) of the catalog."""
    if is_from_ground_truth(config):
        file = _read_catalog_file(config) if config.ingest.catalog else None
        bad = artifact_frame("quarantine", []) if file is None else file[1]
        return _named_items(config).items, bad
    return _read_catalog_file(config)


def catalog_figures(config: Config) -> dict[str, float | int | str]:
    """What the catalog artifact says about the conversations; empty if it comes from a file."""
    return _named_items(config).figures if is_from_ground_truth(config) else {}


def _named_items(config: Config) -> GroundTruthCatalog:
    def build() -> GroundTruthCatalog:
        rows, _ = load_conversations(config)
        frame = rows.scan() if isinstance(rows, ParquetRows) else rows.lazy()
        facts = _read_catalog_file(config)[0] if config.ingest.catalog else None
        return ground_truth_catalog(frame, config.ingest.catalog_min_count, facts)

    key = digest([catalog_config(config), catalog_inputs(config)])
    return _LATEST_NAMED.get(key, build)


def _read_catalog_file(config: Config) -> Frames:
    path = catalog_file(config)
    if path is None:
        return FORMATS[config.ingest.format].read_catalog(config)
    return _catalog_file_content(path, config, {"catalog": file_digest(path)})[:2]


def _catalog_file_content(path: Path, config: Config, inputs: dict[str, str]) -> CollectedItems:
    settings = [catalog_config(config), inputs, config.recommend.years]
    return _LATEST_CATALOG.get(digest(settings), lambda: read_configured_catalog(path, config))


def read_conversations(config: Config) -> Frames:
    """(conversations, quarantine) of the data, in memory."""
    rows, bad = load_conversations(config)
    return rows.frame() if isinstance(rows, ParquetRows) else rows, bad


def load_conversations(config: Config) -> StoredRows:
    """(conversations, quarantine) of the data, with the conversations in a file if large."""
    key = digest([conversations_config(config), conversations_inputs(config)])
    with _gc_paused():
        return _LATEST_CONVERSATIONS.get(key, lambda: _read_conversations(config))


def read_quarantine(config: Config) -> pl.DataFrame:
    """The unusable rows of the catalog, the files not read, and the unusable conversations."""
    bad = load_conversations(config)[1]
    return pl.concat([read_catalog(config)[1], skipped_rows(config), bad])


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


def _read_conversations(config: Config) -> StoredRows:
    return FORMATS[config.ingest.format].read(config)
