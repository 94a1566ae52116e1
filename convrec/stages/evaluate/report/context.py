"""The context of the report's template: plain values and charts, read from the warehouse."""

from __future__ import annotations

import json
import shlex
from typing import Any

import polars as pl
from markupsafe import Markup

from convrec.artifacts import ArtifactRecord
from convrec.artifacts.lineage import with_ancestors
from convrec.artifacts.runs import code_revision
from convrec.artifacts.trace.html import render_traces
from convrec.config import Config, load
from convrec.config.overrides import flatten, format_override
from convrec.errors import ConfigError
from convrec.llm.ledger import ledger_rows, sum_rows
from convrec.metrics.scored_lists import WIDTH
from convrec.stages.adjust.adjustment import CUTOFF_SCORE
from convrec.stages.base import StepContext
from convrec.stages.evaluate.baselines import read_baselines
from convrec.stages.evaluate.calibration import RatingHitRate, rating_hit_rates
from convrec.stages.evaluate.evaluator import interval_unit
from convrec.stages.evaluate.held_out_facts import held_out_json, reachable_text
from convrec.stages.evaluate.metrics import KNN_FIGURE
from convrec.stages.evaluate.report.charts import Dot, dot_chart, line_chart
from convrec.stages.evaluate.report.examples import build_examples, pick_samples
from convrec.stages.evaluate.report.previous_run import previous_metrics, what_changed
from convrec.stages.evaluate.report.tables import (
    COLORS,
    Cell,
    metric_decimals,
    metric_headings,
    metric_tables,
)
from convrec.stages.evaluate.report.training_curves import training_curves
from convrec.stages.evaluate.report.verdict import evaluation_verdict, system_name
from convrec.stages.evaluate.samples import read_samples
from convrec.stages.evaluate.systems import MODELS, SYSTEMS, system_lists
from convrec.titles.index import TitleIndex

_DATA_KINDS = ("teacher_lists", "candidates", "judgments", "adjustment", "demonstrations")
_SHOWN_ROWS = 8


def report_context(ctx: StepContext) -> dict[str, Any]:
    """Return everything that the template of the report needs, by name."""
    config = ctx.config
    metrics = ctx.frame("metrics")
    samples = read_samples(ctx)
    index = TitleIndex(ctx.frame("catalog").select("item_id", "title", "year").iter_rows())
    evaluation = ctx.store.header(ctx.parents["metrics"].artifact_id)
    figures = evaluation.figures
    baselines = read_baselines(ctx, figures.get(KNN_FIGURE))
    picked = pick_samples(samples, config.seed)
    lists = {s: x for s, x in system_lists(ctx, picked, index, baselines).items() if x}
    parent_ids = [ref.artifact_id for ref in ctx.parents.values()]
    lineage = with_ancestors(ctx.store, parent_ids)
    ratings = rating_hit_rates(ctx)
    examples = build_examples(picked, lists, index, config.llm_line_format)
    tables = metric_tables(metrics)
    test_set = held_out_json(figures, tables["systems"])
    return {
        "profile": config.profile,
        "evaluated": evaluation.created_at,
        "verdict": evaluation_verdict(
            tables["pairs"],
            tables["systems"],
            config.rank_grpo.algorithm,
            interval_unit(config),
        ),
        "description": config.description,
        "n": config.list_length,
        "settings": config,
        **_sampling(ctx),
        "samples": len(samples),
        "posts": len({sample.context_id for sample in samples}),
        "unit": interval_unit(config),
        "units": test_set.get("units", {}),
        "reachable": reachable_text(test_set),
        "simulated": simulated_roles(config),
        **tables,
        "headings": metric_headings(config.list_length),
        "decimals": metric_decimals(),
        "charts": _charts(tables["systems"], ratings, config.list_length),
        "ratings": ratings,
        "curves": training_curves(ctx, COLORS),
        "system_names": {
            system: system_name(system, config.rank_grpo.algorithm) for system in SYSTEMS
        },
        "examples": examples,
        "traces": render_traces(ctx.store, [x.sample_id for x in examples], parent_ids),
        "changed": what_changed(ctx, metrics, previous_metrics(ctx)),
        "quarantine": _quarantine(ctx),
        "adjustment": _adjustment(ctx),
        "data_figures": _data_figures(lineage),
        "ledger": sum_rows(ledger_rows(ctx.store), "stage,model"),
        "lineage": lineage,
        "command": _command(ctx),
        "revision": code_revision(),
        "config": json.dumps(displayed_config(config), indent=2, ensure_ascii=False),
    }


def simulated_roles(config: Config) -> list[str]:
    """Return which of teacher and judge is a simulated model of the demo."""
    uses_judge = config.reflect.enabled and config.recommend.source != "provided"
    roles = (
        ("teacher", config.recommend.model, config.recommend.source == "live"),
        ("judge", config.reflect.model, uses_judge),
    )
    return [role for role, model, is_used in roles if is_used and model.startswith("demo-")]


def displayed_config(config: Config) -> dict[str, Any]:
    """Return the settings that enter an artifact id: all that can change a result.

    Those that are newer than the first reports are left out unless they are set.
    """
    return config.identity_settings()


def _command(ctx: StepContext) -> str:
    if "generations_checkpoint" not in ctx.parents:
        return rerun_command(ctx.config)
    checkpoint = ctx.parents.get("checkpoint_given")
    name = checkpoint.artifact_id if checkpoint else "FOLDER"
    return rerun_command(ctx.config, f"evaluate --checkpoint {name} --profile")


def rerun_command(config: Config, command: str = "run") -> str:
    """Return `convrec COMMAND PROFILE` with a `--set` for each setting that differs from it."""
    profile = config.profile
    try:
        defaults = load(profile)
    except ConfigError:  # the profile was a path, of which config.profile is the file name
        return f"convrec {command} {shlex.quote(f'{profile}.toml')}"
    shown = {key for each in (defaults, config) for key in flatten(displayed_config(each))}
    before, after = (flatten(each.model_dump(mode="json")) for each in (defaults, config))
    changed = {
        key: value
        for key, value in after.items()
        if key in shown and key != "profile" and before.get(key) != value
    }
    options = [
        f"--set {shlex.quote(f'{key}={format_override(value)}')}" for key, value in changed.items()
    ]
    return " ".join([f"convrec {command}", shlex.quote(profile), *options])


def _charts(
    systems: dict[str, dict[str, Cell]], ratings: list[RatingHitRate], n: int
) -> dict[str, Markup]:
    ranks = range(1, min(n, WIDTH) + 1)
    hits_by_rank = {
        system: [(float(rank), cells[f"hit_rate@rank{rank}"]["value"]) for rank in ranks]
        for system, cells in systems.items()
    }

    def system_dots(metric: str) -> list[Dot]:
        return [
            Dot(system, cell["value"], cell["low"], cell["high"], COLORS[system])
            for system, cells in systems.items()
            if (cell := cells.get(metric))
        ]

    rating_dots = [
        Dot(f"{r.rating:+d}" if r.rating else "0", r.value, r.low, r.high, COLORS["reflected"])
        for r in ratings
    ]
    return {
        "ndcg": dot_chart(system_dots("ndcg@20"), x_label="NDCG@20 with 95% interval"),
        "popularity": dot_chart(
            system_dots("popularity_rank"), x_label="mean popularity rank; left: more popular"
        ),
        "ratings": dot_chart(rating_dots, x_label="share that is a ground truth, by rating"),
        "ranks": line_chart(hits_by_rank, x_label="rank", colors=COLORS, from_zero=True),
    }


def _quarantine(ctx: StepContext) -> dict[str, Any]:
    if "quarantine" not in ctx.parents:
        return {}
    rows = ctx.frame("quarantine")
    return {
        "reasons": list(rows["reason"].value_counts(sort=True).iter_rows()),
        "rows": rows.head(_SHOWN_ROWS).to_dicts(),
        "more": max(0, rows.height - _SHOWN_ROWS),
    }


def _adjustment(ctx: StepContext) -> dict[str, list[dict[str, Any]]]:
    """Return the items whose score the adjustment lowers and raises most, at the end of a list."""
    if "adjustment" not in ctx.parents:
        return {}
    header = ctx.store.header(ctx.parents["adjustment"].artifact_id)
    cutoff = float(header.figures.get(CUTOFF_SCORE, 0.0))
    titles = ctx.frame("catalog", "item_id", "title", "year")
    lift = pl.col("weight") * cutoff + pl.col("bias") - cutoff
    rows = ctx.frame("adjustment").with_columns(lift=lift).join(titles, on="item_id")
    rows = rows.sort("lift", "item_id")
    lowered, raised = rows.filter(rows["lift"] < 0), rows.filter(rows["lift"] > 0)
    return {
        "lowered": lowered.head(_SHOWN_ROWS).to_dicts(),
        "raised": raised.tail(_SHOWN_ROWS).reverse().to_dicts(),
    }


_SAMPLING_COLUMNS = (
    *("sampler", "temperature", "lists a post", "engine", "processes", "cut lists"),
    "posts without a list",
)


def _sampling(ctx: StepContext) -> dict[str, Any]:
    """Return how the lists of each model were made, and the checkpoint of `free` and `served`."""
    roles = {model: f"generations_{model}" for model in MODELS}
    headers = {
        model: ctx.store.header(ctx.parents[role].artifact_id)
        for model, role in roles.items()
        if role in ctx.parents
    }
    free = headers.get("free")
    return {
        "sampling": {model: h.figures for model, h in headers.items() if h.figures},
        "sampling_columns": _SAMPLING_COLUMNS,
        "final": free.parents.get("checkpoint", "") if free else "",
    }


def _data_figures(headers: list[ArtifactRecord]) -> dict[str, dict[str, Any]]:
    return {
        f"{header.ref.stage}: {header.ref.kind.replace('_', ' ')}": header.figures
        for header in headers
        if header.ref.kind in _DATA_KINDS and header.figures
    }
