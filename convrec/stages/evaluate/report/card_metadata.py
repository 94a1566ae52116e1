"""The front matter of a model card, as the Hugging Face Hub reads it.

It says what the warehouse knows: a license only if the base model's folder names one, a language
only if the instruction is convrec's own, which is English.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from convrec.config import Config, resolve_path
from convrec.config.domain import Domain
from convrec.errors import InputError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_DATA = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+).*@(?P<revision>\w+)")
HUB_NAMES = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Names on the Hub of base models that are packages."""

METRICS = ("recall@5", "recall@20", "ndcg@5", "ndcg@20")


class DataOrigin(NamedTuple):
    """The format of the conversations, and the name of their input."""

    format_name: str
    source: str

    @property
    def on_hub(self) -> re.Match[str] | None:
        """The repository and revision of data on the Hub."""
        return _HUB_DATA.fullmatch(self.source)


def front_matter(name: str, *, base: str, stage: str, serving: Config, data: DataOrigin) -> str:
    """The YAML block of a card without metrics."""
    from huggingface_hub import ModelCardData

    card = ModelCardData(
        model_name=name,
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=HUB_NAMES.get(base) or (base if is_hub_name(base) else None),
        language="en" if _is_english(serving) else None,
        datasets=[data.on_hub["repo"]] if data.on_hub else None,
        tags=["recommendation", "conversational-recommendation", "convrec", stage],
        **base_license(base),
    )
    return f"---\n{card.to_yaml()}\n---"


def with_results(card: str, results: list[Any]) -> str:
    """The card with more results in the `model-index` of its front matter.

    A card whose front matter cannot be read is returned as it is.
    """
    from huggingface_hub import ModelCard

    try:
        read = ModelCard(card)
        data: Any = read.data
        known = list(data.eval_results or [])
    except Exception:  # edited by hand so that it is no card of the Hub
        return card
    data.eval_results = known + results
    data.metrics = list(METRICS)
    return f"---\n{data.to_yaml()}\n---\n{read.text}"


def is_hub_name(base: str) -> bool:
    """Whether a base model is named as on the Hub, and is no folder here."""
    return bool(HUB_NAME.fullmatch(base)) and not _is_folder(base)


def base_license(base: str) -> dict[str, Any]:
    """The license that the card in the base model's folder names; empty if there is none."""
    if not base or not _is_folder(base):
        return {}
    from huggingface_hub import ModelCard

    try:
        data = ModelCard.load(resolve_path(base, "model.base") / "README.md").data.to_dict()
    except Exception:  # no card, or one that cannot be read
        return {}
    names = ("license", "license_name", "license_link")
    return {key: data[key] for key in names if isinstance(data.get(key), str)}


def results(
    systems: Mapping[str, Mapping[str, Any]],
    samplers: Mapping[str, Mapping[str, Any]],
    data: DataOrigin,
    artifact: str,
) -> list[Any]:
    """Results for the `model-index`.

    `systems` has the metrics of the model's own rows, `samplers` how their lists were made, and
    `artifact` is the id of the metrics.
    """
    from huggingface_hub import EvalResult

    on_hub = data.on_hub
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Conversational recommendation",
            dataset_type=on_hub["repo"] if on_hub else data.format_name,
            dataset_name=on_hub["repo"] if on_hub else data.format_name,
            dataset_split="test",
            dataset_revision=on_hub["revision"] if on_hub else None,
            metric_type=metric,
            metric_name=f"{metric} ({system})",
            metric_value=round(row[metric]["value"], 6),
            metric_args={
                "system": system,
                "low": round(row[metric]["low"], 6),
                "high": round(row[metric]["high"], 6),
                "confidence": 0.95,
                "samples": row[metric]["n"],
                "artifact": artifact,
                **samplers.get(system, {}),
            },
        )
        for system, row in systems.items()
        for metric in METRICS
        if metric in row
    ]


def _is_english(serving: Config) -> bool:
    return serving.domain.student == Domain().student and serving.model.prompt != "plain"


def _is_folder(base: str) -> bool:
    try:
        return resolve_path(base, "model.base").is_dir()
    except InputError:
        return False


def base_folder_name(base: str) -> str:
    """How a card names a base model that is a folder: without the path on this machine."""
    return Path(base).name if _is_folder(base) else base
