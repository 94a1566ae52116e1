"""What the report shows, gathered from the warehouse as plain values and charts."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from convrec.artifacts import ArtifactRecord
from convrec.artifacts.lineage import family
from convrec.artifacts.runs import revision
from convrec.artifacts.trace.html import traces
from convrec.config.overrides import as_override, flattened
from convrec.errors import ConfigError
from convrec.llm.ledger import ledger_rows, summed
from convrec.metrics.registry import WIDTH
from convrec.stages.adjust.fit import CUT
from convrec.stages.base import StepContext
from convrec.stages.evaluate.calibration import Rated, calibration
from convrec.stages.evaluate.metrics import NEIGHBOURS
from convrec.stages.evaluate.report.charts import Dot, dot_chart, line_chart
from convrec.stages.evaluate.report.examples import chosen, examples
from convrec.stages.evaluate.report.previous_run import previous_metrics, what_changed
from convrec.stages.evaluate.report.tables import COLOURS, Cell, Cells, cells, tables
from convrec.stages.evaluate.report.training_curves import curves
from convrec.stages.evaluate.samples import held_out
from convrec.stages.evaluate.systems import SYSTEMS, system_lists
from convrec.titles.index import TitleIndex

if TYPE_CHECKING:
    from markupsafe import Markup

    from convrec.config import Config

_OPERATIONAL = {"base_url", "max_usd", "max_concurrency", "max_attempts", "max_failures", "timeout"}
_MEASURED = ("teacher_lists", "candidates", "judgments", "adjustment", "demonstrations")
_SHOWN_ROWS = 8


def gather(ctx: StepContext) -> dict[str, Any]:
    """Everything that the template needs, by name."""
    metrics = ctx.frame("metrics")
    samples = held_out(ctx.frame("conversations"))
    index = TitleIndex(ctx.frame("catalog").select("item_id", "title", "year").iter_rows())
    neighbours = ctx.store.header(ctx.parents["metrics"].artifact_id).figures.get(NEIGHBOURS)
    picked = chosen(samples, ctx.config.seed)
    lists = {s: x for s, x in system_lists(ctx, picked, index, neighbours).items() if x}
    found = cells(metrics, "standard")
    made = family(ctx.store, [ref.artifact_id for ref in ctx.parents.values()])
    rated = calibration(ctx)
    shown = examples(ctx, picked, lists, index)
    return {
        "profile": ctx.config.profile,
        "description": ctx.config.description,
        "n": ctx.config.list_length,
        "settings": ctx.config,
        "samples": len(samples),
        "posts": len({sample.context_id for sample in samples}),
        "simulated": simulated(ctx.config),
        **tables(metrics),
        "charts": _charts(found, rated, ctx.config.list_length),
        "rated": rated,
        "curves": curves(ctx, COLOURS),
        "examples": shown,
        "traces": traces(
            ctx.store,
            [example.sample_id for example in shown],
            [ref.artifact_id for ref in ctx.parents.values()],
        ),
        "changed": what_changed(ctx, metrics, previous_metrics(ctx)),
        "quarantine": _quarantine(ctx),
        "adjustment": _adjustment(ctx),
        "measured": _measured(made),
        "ledger": summed(ledger_rows(ctx.store), "stage,model"),
        "lineage": made,
        "command": _command(ctx),
        "revision": revision(),
        "config": json.dumps(shown_config(ctx.config), indent=2, ensure_ascii=False),
    }


def simulated(config: Config) -> list[str]:
    """The roles (teacher, judge) that a simulated model of the demo played in this run."""
    played = [("teacher", config.recommend.model, config.recommend.source == "live")]
    judged = config.reflect.enabled and config.recommend.source != "provided"
    played.append(("judge", config.reflect.model, judged))
    return [role for role, model, used in played if used and model.startswith("demo-")]


def shown_config(config: Config) -> dict[str, Any]:
    """The configuration without what cannot change a result (limits, waits, addresses, hosts)."""
    values = config.model_dump(mode="json", exclude={"train", "runner"})
    values["llm"] = {k: v for k, v in values["llm"].items() if k not in _OPERATIONAL}
    if not config.sources:
        del values["sources"]
    return values


def _command(ctx: StepContext) -> str:
    """The command that makes this report again."""
    if "generations_checkpoint" not in ctx.parents:
        return command(ctx.config)
    given = ctx.parents.get("checkpoint_given")
    name = given.artifact_id if given else "FOLDER"
    return command(ctx.config, f"evaluate --checkpoint {name} --profile")


def command(config: Config, what: str = "run") -> str:
    """The command that makes this run again: the profile, and what differs from it."""
    from convrec.config import load

    profile = config.profile
    try:
        before = flattened(shown_config(load(profile)))
    except ConfigError:  # one that was given by its path, of which this is the file's name
        profile, before = f"{profile}.toml", {}
    changed = {
        key: value
        for key, value in flattened(shown_config(config)).items()
        if before and key != "profile" and before.get(key, value) != value
    }
    sets = [f"--set {shlex.quote(f'{key}={as_override(value)}')}" for key, value in changed.items()]
    return " ".join([f"convrec {what}", shlex.quote(profile), *sets])


def _charts(found: Cells, rated: list[Rated], n: int) -> dict[str, Markup]:
    systems = [system for system in SYSTEMS if (system, None) in found]
    dots = [_dot(system, found[system, None]["ndcg@20"], COLOURS[system]) for system in systems]
    ranks = {
        system: [
            (float(rank), found[system, None][f"hit_rate@rank{rank}"]["value"])
            for rank in range(1, min(n, WIDTH) + 1)
        ]
        for system in systems
    }
    return {
        "ndcg": dot_chart(dots, across="NDCG@20 with its 95% interval"),
        "popular": dot_chart(
            [
                _dot(system, found[system, None]["popularity_rank"], COLOURS[system])
                for system in systems
                if "popularity_rank" in found[system, None]
            ],
            across="mean popularity rank; left: more popular",
        ),
        "rated": dot_chart(
            [
                Dot(
                    f"{r.rating:+d}" if r.rating else "0",
                    r.value,
                    r.low,
                    r.high,
                    COLOURS["reflected"],
                )
                for r in rated
            ],
            across="share that is a ground truth, by rating",
        ),
        "ranks": line_chart(ranks, across="rank", colours=COLOURS, from_zero=True),
    }


def _dot(label: str, cell: Cell, colour: int) -> Dot:
    return Dot(label, cell["value"], cell["low"], cell["high"], colour)


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
    """The items whose score the adjustment lowers and raises most, at the end of a list."""
    import polars as pl

    if "adjustment" not in ctx.parents:
        return {}
    header = ctx.store.header(ctx.parents["adjustment"].artifact_id)
    cut = float(header.figures.get(CUT, 0.0))
    titles = ctx.frame("catalog", "item_id", "title", "year")
    lift = pl.col("weight") * cut + pl.col("bias") - cut
    rows = ctx.frame("adjustment").with_columns(lift=lift).join(titles, on="item_id")
    rows = rows.sort("lift", "item_id")
    lowered, raised = rows.filter(rows["lift"] < 0), rows.filter(rows["lift"] > 0)
    return {
        "lowered": lowered.head(_SHOWN_ROWS).to_dicts(),
        "raised": raised.tail(_SHOWN_ROWS).reverse().to_dicts(),
    }


def _measured(headers: list[ArtifactRecord]) -> dict[str, dict[str, Any]]:
    """What the data stages found out about their own work, by stage and kind."""
    return {
        f"{header.ref.stage}: {header.ref.kind.replace('_', ' ')}": header.figures
        for header in headers
        if header.ref.kind in _MEASURED and header.figures
    }
