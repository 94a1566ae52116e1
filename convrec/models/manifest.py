"""The manifest of a checkpoint: how it was trained, and the settings to serve it with."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from convrec.config import Config


def checkpoint_row(
    base: str, parameters: int, settings: dict[str, Any], config: Config
) -> pl.DataFrame:
    """The single row of a checkpoint artifact; `settings` say how it was trained."""
    manifest = {**settings, "serving": serving_settings(config)}
    row = (".", base, parameters, json.dumps(manifest, sort_keys=True))  # ".": the folder itself
    return pl.DataFrame([row], ["path", "base", "parameters", "manifest"], orient="row")


def serving_settings(config: Config) -> dict[str, Any]:
    """The settings that prompts and lists depend on, valid as a `Config` of their own."""
    return {
        "domain": config.domain.model_dump(mode="json"),
        "list_length": config.list_length,
        "ingest": {"columns": config.ingest.column_names},
        "recommend": {"years": config.recommend.years},
        "model": config.model.model_dump(mode="json"),
        "reflect": {"enabled": False, "top": 1},  # unused, but validated against list_length
        "remap": {"keep": config.list_length},
    }


def serving_config(manifest: str) -> Config:
    """The `Config` that a checkpoint is served with, from the JSON of its manifest."""
    return Config.model_validate(json.loads(manifest)["serving"])
