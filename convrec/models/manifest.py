"""The manifest of a checkpoint: how it was trained, and the settings that serve it."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from convrec.config import Config


def checkpoint_rows(
    base: str, parameters: int, settings: dict[str, Any], config: Config
) -> pl.DataFrame:
    """The one row of a checkpoint artifact; path "." is the artifact's own folder.

    The manifest is JSON: `settings`, how it was trained, and `serving`, the configuration with
    which it must be asked.
    """
    manifest = {**settings, "serving": serving_settings(config)}
    return pl.DataFrame(
        {
            "path": ["."],
            "base": [base],
            "parameters": [parameters],
            "manifest": [json.dumps(manifest, sort_keys=True)],
        }
    )


def serving_settings(config: Config) -> dict[str, Any]:
    """What prompts and answers depend on, as a configuration of its own for `Config`."""
    return {
        "domain": config.domain.model_dump(mode="json"),
        "list_length": config.list_length,
        "ingest": {"columns": config.ingest.names},
        "recommend": {"years": config.recommend.years},
        "model": config.model.model_dump(mode="json"),
        "reflect": {"enabled": False, "top": 1},  # not used, but bound to list_length
        "remap": {"keep": config.list_length},
    }
