"""Files among the conversations that are not read: named in the log and in the quarantine."""

from __future__ import annotations

import logging

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.artifacts.identity import digest
from convrec.catalog.hub_data import PREFIX
from convrec.catalog.rows import quarantine_row
from convrec.config import Config
from convrec.stages.ingest.files import SkippedFile
from convrec.stages.ingest.formats import FORMATS

_LOG = logging.getLogger(__name__)


def skipped_inputs(config: Config) -> dict[str, str]:
    """Digest of the names of files that may hold conversations; empty without such files.

    Empty for data on the Hub, too, whose commit says which files there are.
    """
    if config.ingest.path.startswith(PREFIX):
        return {}
    files = _skipped_data(config)
    return {"skipped": digest([list(file) for file in files])} if files else {}


def skipped_rows(config: Config) -> pl.DataFrame:
    """A quarantine row, of line 0, for each file that may hold conversations but is not read."""
    files = _skipped_data(config)
    rows = [quarantine_row(f.source, 0, f"not read: {f.reason}", "") for f in files]
    return artifact_frame("quarantine", rows)


def log_skipped_files(config: Config) -> int:
    """Log every file that is not read; returns how many of them may hold conversations."""
    for file in FORMATS[config.ingest.format].skipped(config):
        level = logging.WARNING if file.is_data else logging.INFO
        _LOG.log(level, "%s is not read: %s", file.source, file.reason)
    return len(_skipped_data(config))


def _skipped_data(config: Config) -> list[SkippedFile]:
    return [file for file in FORMATS[config.ingest.format].skipped(config) if file.is_data]
