"""How long the stages of a plan take: by this warehouse's own runs, else by stated assumptions.

Only what takes long is estimated: requests to LLMs, training, and sampling for evaluation. An
estimate is an order of magnitude; the lists of a model may be far shorter than the limit.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from convrec.artifacts import Store
from convrec.artifacts.record import ArtifactRecord
from convrec.config import Config, StageName
from convrec.llm.endpoint import endpoint_name, is_embedded
from convrec.training.memory.model_shape import MODEL_CONFIGS
from convrec.training.step_count import rank_grpo_steps, sft_steps

TOKENS_PER_SECOND, LATENCY = 60, 1.0
"""Assumed of an LLM endpoint: tokens a second of one response, and seconds until it begins."""

EMBEDDED_RATE = 200
"""Requests a second that the demo's server is assumed to answer."""

CPU_FLOPS, GPU_FLOPS = 2e11, 1e14
"""Assumed operations a second in training; a CPU of two cores reaches the first."""

SAMPLING_SHARE = 0.3
"""Assumed share of these operations that sampling reaches."""

TOKEN_SECONDS = 0.008
"""Assumed overhead of one token of a list, whatever the model."""

SIMILAR = 1.5
"""Models are similar if one has at most so many times the weights of the other."""

MIN_REQUESTS = 50
"""Requests of a run from which a rate is measured."""

BATCH_SECONDS = 24 * 3600
"""What a batch may take by the terms of the Batch API."""

_LLM_STAGES: dict[str, StageName] = {
    "teacher": "recommend",
    "descriptions": "remap",
    "embeddings": "remap",
    "judge": "reflect",
}
_BILLIONS = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)


class Duration(NamedTuple):
    """Estimated seconds of a part of a run, and what the estimate is from."""

    part: str
    seconds: float
    basis: str


def estimate_durations(plan: Mapping[str, Any], config: Config, store: Store) -> list[Duration]:
    """The parts of a plan that take long, in the order of the stages.

    `plan` is that of `make_plan`. A part whose size is unknown is left out.
    """
    weights = base_parameters(config)
    waiting = {(row["stage"], row["kind"]): row["contexts"] for row in plan["stages"] if _runs(row)}
    found = list(_request_durations(plan, config, store))
    for stage in ("sft", "rank_grpo"):
        if weights and (stage, "checkpoint") in waiting:
            found.append(_training(stage, config, store, waiting[stage, "checkpoint"], weights))
    lists = [row for row in plan["stages"] if _runs(row) and row["kind"] == "generations"]
    if weights and lists:
        found.append(_sampling(config, store, lists[0]["contexts"], len(lists), weights))
    return [part for part in found if part.seconds > 0]


def _runs(row: Mapping[str, Any]) -> bool:
    return bool(row["state"] != "cached")


# -- requests ----------------------------------------------------------------------------------


def _request_durations(plan: Mapping[str, Any], config: Config, store: Store) -> Iterator[Duration]:
    sources = {
        "recommend": config.recommend.source,
        "reflect": config.reflect.source,
        "remap": config.remap.describe_source,
    }
    for role, figures in plan["llm"].items():
        requests, stage = figures["requests"], _LLM_STAGES[role]
        if not requests:
            continue
        if sources[stage] == "batch" and role != "embeddings":
            yield Duration(role, BATCH_SECONDS, "at most, as the Batch API promises")
        elif rate := _measured_rate(store, stage, endpoint_name(config)):
            yield Duration(role, requests / rate, f"measured here: {rate:,.3g} requests a second")
        elif is_embedded(config):
            basis = f"assumed: the embedded server answers {EMBEDDED_RATE} requests a second"
            yield Duration(role, requests / EMBEDDED_RATE, basis)
        else:
            tokens = figures["completion_tokens"] / requests
            seconds = requests * (LATENCY + tokens / TOKENS_PER_SECOND) / config.llm.max_concurrency
            limit = 60 * requests / config.llm.max_rpm if config.llm.max_rpm else 0
            basis = (
                f"assumed: {TOKENS_PER_SECOND} tokens a second in each of "
                f"{config.llm.max_concurrency} calls at once"
            )
            yield Duration(role, max(seconds, limit), basis)


def _measured_rate(store: Store, stage: str, endpoint: str) -> float:
    """Requests a second that runs of this warehouse had answered; 0 without such runs."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT count(*), epoch(max(created_at)) - epoch(min(created_at)) FROM llm_ledger "
            "WHERE stage = ? AND endpoint = ? AND origin = 'live' GROUP BY run",
            [stage, endpoint],
        ).fetchall()
    rates = [count / seconds for count, seconds in rows if count >= MIN_REQUESTS and seconds > 0]
    return float(median(rates)) if rates else 0.0


# -- training and sampling ---------------------------------------------------------------------


def _training(stage: str, config: Config, store: Store, contexts: int, weights: float) -> Duration:
    """The duration of sft or rank_grpo on so many training contexts."""
    if stage == "sft":
        steps = sft_steps(contexts, config.sft)
    else:
        steps = rank_grpo_steps(contexts, config.rank_grpo)
    tokens = _step_tokens(stage, config.model_dump(mode="json"))
    measured = [
        header.seconds / header.figures["steps"] * tokens / _step_tokens(stage, header.config)
        for header in store.headers("checkpoint")
        if header.ref.stage == stage
        and header.figures.get("steps")
        and _is_similar(header, weights)
    ]
    if measured:
        step, basis = measured[-1], "measured here"
    else:
        step, basis = _assumed_step(stage, config, tokens, weights), f"assumed: {_machine()}"
    return Duration(stage, steps * step, f"{basis}, {steps:,} steps of {format_seconds(step)}")


def _step_tokens(stage: str, settings: Mapping[str, Any]) -> float:
    """Tokens of a step, at their limits."""
    section, model = settings[stage], settings["model"]
    rows = section.get("batch_size") or section["prompts_per_step"] * section["group_size"]
    return float(rows * (model["max_prompt_tokens"] + model["max_completion_tokens"]))


def _assumed_step(stage: str, config: Config, tokens: float, weights: float) -> float:
    seconds = 6 * weights * tokens / _flops()
    if stage == "sft":
        return seconds + TOKEN_SECONDS
    lists = config.rank_grpo.prompts_per_step * config.rank_grpo.group_size
    return seconds + _assumed_sampling(config, lists, weights)


def _assumed_sampling(config: Config, lists: int, weights: float) -> float:
    """Seconds in which lists are sampled together, token by token."""
    token = 2 * weights * lists / (SAMPLING_SHARE * _flops())
    limit = config.model.max_completion_tokens
    # A line is one token of the tiny student, and its newline another.
    tokens = min(limit, 2 * config.list_length) if config.model.base == "tiny" else limit
    return tokens * (TOKEN_SECONDS + token)


def _sampling(config: Config, store: Store, posts: int, systems: int, weights: float) -> Duration:
    """The duration of sampling the lists of all systems on the test split."""
    settings = config.evaluate
    lists = min(posts, settings.limit or posts) * settings.samples
    measured = [
        header.seconds / (header.figures["posts"] * header.figures["lists a post"])
        for header in store.headers("generations")
        if header.figures.get("posts") and _is_similar(header, weights, store)
    ]
    if measured:
        each, basis = median(measured), "measured here"
    else:
        batches = math.ceil(lists / settings.batch_size) if lists else 0
        size = min(lists, settings.batch_size)
        each = batches * _assumed_sampling(config, size, weights) / max(1, lists)
        basis = f"assumed: {_machine()}"
    return Duration("evaluate", systems * lists * each, f"{basis}, {systems} × {lists:,} lists")


def _is_similar(header: ArtifactRecord, weights: float, store: Store | None = None) -> bool:
    """Whether a checkpoint, or the one that wrote some lists, has about so many weights."""
    if store is not None:
        parent = header.parents.get("checkpoint")
        if parent is None:
            return False
        header = store.header(parent)
    found = float(header.figures.get("parameters", 0))
    return found > 0 and max(found / weights, weights / found) <= SIMILAR


def base_parameters(config: Config) -> float:
    """Weights of the base model, as its configuration or name says; 0 if neither does."""
    model = config.model
    if model.base == "tiny":
        return float(model.hidden * (model.vocabulary + 12 * model.layers * model.hidden))
    if model.base == "smollm2":
        return 135e6
    for file in (Path(model.base) / "config.json", MODEL_CONFIGS / f"{Path(model.base).name}.json"):
        if file.is_file():
            return _counted_parameters(json.loads(file.read_text(encoding="utf-8")))
    sizes = _BILLIONS.findall(Path(model.base).name)
    return float(sizes[-1][0]) * (1e9 if sizes[-1][1].lower() == "b" else 1e6) if sizes else 0.0


def _counted_parameters(shape: Mapping[str, Any]) -> float:
    """Weights of a transformer with a gated MLP and tied embeddings, within some percent."""
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"]
    heads = shape.get("num_attention_heads", 1)
    attention = 2 * hidden * hidden * (1 + shape.get("num_key_value_heads", heads) / heads)
    mlp = 3 * hidden * shape.get("intermediate_size", 4 * hidden)
    return float(shape["vocab_size"] * hidden + layers * (attention + mlp))


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU; does not load torch."""
    return Path("/dev/nvidia0").exists()


def _flops() -> float:
    return GPU_FLOPS if has_gpu() else CPU_FLOPS


def _machine() -> str:
    if has_gpu():
        return f"{GPU_FLOPS / 1e12:.0f} teraflops of a GPU"
    return f"{CPU_FLOPS / 1e9:.0f} gigaflops of {os.cpu_count()} CPU cores"


def format_seconds(seconds: float) -> str:
    """A duration in its two largest units, such as `2 h 5 min`, or with two digits below 10 s."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    if hours < 48:
        return f"{minutes / 60:.0f} h"
    return f"{hours / 24:.0f} days"
