"""What identifies the artifacts of ingest: settings and digests of the input files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.artifacts.identity import digest, file_digest
from convrec.catalog.resolve import catalog_file
from convrec.config import Config
from convrec.demo.world import world_files
from convrec.stages.ingest.files import conversation_files, dialogue_file, entity_files


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
    if config.ingest.format == "demo":
        settings |= {"seed": config.seed, **config.ingest.identity_settings("contexts")}
    return settings


def conversations_inputs(config: Config) -> dict[str, str]:
    """Digest of the conversation files, or of the demo's world files."""
    if config.ingest.format == "demo":
        return {"world": _files_digest([(p.name, p) for p in world_files(config.ingest.world)])}
    if config.ingest.format == "reddit-v2":
        files = [(file.source, file.path) for file in conversation_files(config)]
    else:
        files = [(path.name, path) for path in (dialogue_file(config), *entity_files(config))]
    return {"conversations": _files_digest(files)}


def _files_digest(files: list[tuple[str, Path]]) -> str:
    """One digest of the names and contents of files."""
    return digest([[name, file_digest(path)] for name, path in files])
