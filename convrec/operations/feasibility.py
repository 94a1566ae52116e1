"""Warnings of a plan: trainings that cannot work with these data or on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from convrec.config import Config
from convrec.errors import ConfigError
from convrec.llm.endpoint import api_key, configured_url
from convrec.operations.durations import Duration, format_seconds, has_gpu
from convrec.utils.sample_sizes import few_demonstrations, few_test_posts

LONG_SECONDS = 24 * 3600
"""A longer part of a run gets a warning."""


def plan_warnings(
    plan: Mapping[str, Any], config: Config, durations: Iterable[Duration]
) -> list[str]:
    """What is likely to go wrong in the stages that would run, each with what to do."""
    found = [*_data_warnings(plan, config), *_duration_warnings(durations)]
    if any(row["requests"] for row in plan["llm"].values()) and (text := _key_warning(config)):
        found.append(text)
    return found


def _data_warnings(plan: Mapping[str, Any], config: Config) -> Iterator[str]:
    contexts = {row["stage"]: row["contexts"] for row in plan["stages"] if row["state"] != "cached"}
    trained = contexts.get("sft") or contexts.get("rank_grpo", 0)
    tested = contexts.get("evaluate", 0)
    if config.sources:
        trained = 0  # the demonstrations are those of the sources
    yield from filter(
        None, (few_demonstrations(trained, config.model.base), few_test_posts(tested))
    )


def _duration_warnings(durations: Iterable[Duration]) -> Iterator[str]:
    advice = {
        "sft": "lower sft.epochs, or set sft.steps",
        "rank_grpo": "lower rank_grpo.steps, group_size or prompts_per_step",
        "evaluate": "set evaluate.limit",
    }
    for part, seconds, _ in durations:
        if seconds > LONG_SECONDS:
            what = advice.get(part, "use recommend.source=batch, or raise llm.max_concurrency")
            machine = "" if has_gpu() or part not in advice else f" on {os.cpu_count()} CPU cores"
            gpu = "; `convrec train plan` shows GPUs" if machine else ""
            yield f"{part} takes about {format_seconds(seconds)}{machine}; {what}{gpu}"


def _key_warning(config: Config) -> str:
    """That the key of the endpoint is missing; empty if it is set or not needed."""
    if config.llm.secret:
        return ""
    try:
        api_key(config, configured_url(config))
    except ConfigError as error:
        return f"{error}; recommend.source=neighbours with reflect.enabled=false asks no LLM"
    return ""
