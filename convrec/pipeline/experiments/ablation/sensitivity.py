"""How much each setting matters: NDCG@20 by its value, with the others as in the profile."""

from __future__ import annotations

import polars as pl

from convrec.pipeline.experiments.ablation.search import VARIED
from convrec.pipeline.experiments.ablation.settings import Setting
from convrec.pipeline.experiments.svg import panels
from convrec.stages.evaluate.report.charts import Band, Point, line_chart

LABELS = {
    "similarity_weight": "weight of S",
    "conversation_weight": "λ, weight of the conversation",
    "weight": "γ, weight of the judge's rating",
    "top": "N_r, candidates that are judged",
}
"""Setting → title of its chart."""

_COLORS: dict[str, int] = {split: color for color, split in enumerate(VARIED)}


def varied_settings(search: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Setting → the rows in which it alone differs from the profile, by split and value.

    `gain`, `gain_low` and `gain_high` are the paired difference to the profile. Empty for a search
    that an earlier version made.
    """
    rows, found = _with_gains(search), {}
    for setting in LABELS:
        others = [name for name in Setting._fields if name != setting]
        alone = rows.filter(pl.col(name) == pl.col(f"{name}_profile") for name in others)
        if alone[setting].n_unique() > 1:
            found[setting] = alone.unique(["round", setting]).sort("round", setting)
    return found


def chosen_text(search: pl.DataFrame) -> str:
    """What the settings chosen on validation gain on test; empty without test."""
    on_test = (pl.col("round") == VARIED["test"]) & pl.col("chosen")
    for row in _with_gains(search).filter(on_test).iter_rows(named=True):
        if row["configured"]:
            return "The search keeps the profile's settings."
        changed = ", ".join(
            f"{label.partition(',')[0]} {row[name]:g} instead of {row[f'{name}_profile']:g}"
            for name, label in {**LABELS, "length": "N"}.items()
            if row[name] != row[f"{name}_profile"]
        )
        return f"The search chooses {changed}: {_gain(row)} on test."
    return ""


def _with_gains(search: pl.DataFrame) -> pl.DataFrame:
    """The varied settings, with the profile's (`_profile`) and the difference to its lists."""
    varied = search.filter(pl.col("round").is_in(list(VARIED.values())))
    profile = varied.filter("configured").select("round", *Setting._fields, base="value")
    return varied.join(profile, on="round", suffix="_profile").with_columns(
        (pl.col(end) - pl.col("base")).alias(name)
        for end, name in (("value", "gain"), ("low", "gain_low"), ("high", "gain_high"))
    )


def sensitivity_svg(search: pl.DataFrame) -> str:
    """Draw a chart for each setting, with the interval of test; empty without such rows."""
    charts = {}
    for setting, rows in varied_settings(search).items():
        lines: dict[str, list[Point]] = {}
        for split, name in VARIED.items():
            of_split = rows.filter(pl.col("round") == name)
            lines[split] = list(of_split.select(setting, "gain").iter_rows())
        test = rows.filter(pl.col("round") == VARIED["test"])
        band: Band = list(test.select(setting, "gain_low", "gain_high").iter_rows())
        title = f"{LABELS[setting]} (profile: {rows.filter('configured')[setting][0]:g})"
        charts[title] = line_chart(lines, x_label="", colors=_COLORS, bands={"test": band})
    label = "NDCG@20 minus that of the profile's lists, with one setting changed at a time"
    return panels(charts, _COLORS, label) if charts else ""


def sensitivity_rows(search: pl.DataFrame) -> list[list[str]]:
    """One row a setting: range tried, and the worst and best difference on test with its value."""
    table = []
    for setting, rows in varied_settings(search).items():
        test = rows.filter((pl.col("round") == VARIED["test"]) & ~pl.col("configured"))
        if test.is_empty():
            continue
        ends = [test.sort("gain", descending=best).row(0, named=True) for best in (False, True)]
        tried = rows[setting].sort()
        span = f"{tried[0]:g} to {tried[-1]:g}"
        configured = rows.filter("configured")[setting][0]
        table.append(
            [
                LABELS[setting],
                f"{configured:g}",
                span,
                *(f"{_gain(r)} at {r[setting]:g}" for r in ends),
            ]
        )
    return table


def _gain(row: dict[str, float]) -> str:
    return f"{row['gain']:+.4f} [{row['gain_low']:+.4f}, {row['gain_high']:+.4f}]"
