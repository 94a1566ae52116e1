"""What identifies the artifacts of ingest: settings and digests of the input files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.artifacts.identity import digest, file_digest
from convrec.catalog.resolve import catalog_file
from convrec.config import Config
from convrec.stages.ingest.files import entity_files
from convrec.stages.ingest.formats import FORMATS


def catalog_config(config: Config) -> dict[str, Any]:
    """The settings that can change the catalog's rows."""
    if catalog_file(config) is None:
        return config.ingest.identity_settings("format")
    return config.ingest.identity_settings("columns")


def catalog_inputs(config: Config) -> dict[str, str]:
    """Digest of the catalog file, or of the entity files that replace it."""
    path = catalog_file(config)
    if path is not None:
        return {"catalog": file_digest(path)}
    return {"catalog": _files_digest([(path.name, path) for path in entity_files(config)])}


def conversations_config(config: Config) -> dict[str, Any]:
    """The settings that can change the conversations."""
    settings = config.ingest.identity_settings("format", "limit")
    return settings | FORMATS[config.ingest.format].settings(config)


def conversations_inputs(config: Config) -> dict[str, str]:
    """Digest of the files that the conversations are read from."""
    input_format = FORMATS[config.ingest.format]
    return {input_format.digest_name: _files_digest(input_format.files(config))}


def _files_digest(files: list[tuple[str, Path]]) -> str:
    """One digest of the names and contents of files."""
    return digest([[name, file_digest(path)] for name, path in files])
