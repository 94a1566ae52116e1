"""The manifest of a checkpoint: how it was trained, and the settings to serve it with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from convrec.config import Config
from convrec.models.prompt_form import common_template
from convrec.models.tokenizer_files import checkpoint_date


def checkpoint_row(
    base: str,
    parameters: int,
    settings: dict[str, Any],
    config: Config,
    folder: Path,
    conversations: pl.DataFrame,
) -> pl.DataFrame:
    """The single row of a checkpoint artifact; `settings` say how it was trained.

    `folder` has the trained model, `conversations` the prompts of the data. The manifest records
    the day that the chat template writes, if it writes one.
    """
    template = data_template(config, conversations)
    manifest = {**settings, "serving": serving_settings(config, template)}
    if day := checkpoint_date(folder):
        manifest["template_date"] = day
    row = (".", base, parameters, json.dumps(manifest, sort_keys=True))  # ".": the folder itself
    return pl.DataFrame([row], ["path", "base", "parameters", "manifest"], orient="row")


def serving_settings(config: Config, template: str | None = None) -> dict[str, Any]:
    """The settings that prompts and lists depend on, valid as a `Config` of their own.

    `template` is that of the prompts in the data (`common_template`). With `model.prompt=given`,
    texts of users are put into it, as `model.prompt=instruct` does with `domain.student`.
    """
    domain, model = (part.model_dump(mode="json") for part in (config.domain, config.model))
    if config.model.prompt == "given" and template is not None:
        domain["student"], model["prompt"] = template, "instruct"
    return {
        "domain": domain,
        "list_length": config.list_length,
        "ingest": {"columns": config.ingest.column_names},
        "recommend": {"years": config.recommend.years},
        "model": model,
        "reflect": {"enabled": False, "top": 1},  # unused, but validated against list_length
        "remap": {"keep": config.list_length},
    }


def data_template(config: Config, conversations: pl.DataFrame) -> str | None:
    """The template of the training split's prompts, if the student is trained on them."""
    if config.model.prompt != "given":
        return None
    rows = conversations.filter(pl.col("split") == "train").select("conversation", "prompt")
    return common_template(rows.iter_rows())


def serving_config(manifest: str) -> Config:
    """The `Config` that a checkpoint is served with, from the JSON of its manifest."""
    return Config.model_validate(json.loads(manifest)["serving"])
