"""The ablation and the search as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.pipeline.experiments.ablation.ladder import METRICS
from convrec.utils.markdown import plain_table

if TYPE_CHECKING:
    import polars as pl

TITLES = {
    "raw": "raw, exact match",
    "fuzzy": "+ fuzzy links",
    "similar": "+ similarity S",
    "talk": "+ conversation s_conv",
    "judged": "+ reflect",
    "adjusted": "+ adjust",
}


def ladder_rows(ablation: pl.DataFrame, split: str) -> list[list[str]]:
    """One row a rung: its name, NDCG@20 with interval, its gain with interval, other metrics."""
    rows = []
    found = ablation.filter(ablation["split"] == split)
    for (step,), metrics in found.group_by("step", maintain_order=True):
        by_name = {row["metric"]: row for row in metrics.iter_rows(named=True)}
        first = by_name["ndcg@20"]
        gain = "" if first["gain"] is None else _interval(first, "gain", "+.4f")
        others = [f"{by_name[name]['value']:.4f}" for name in METRICS[1:]]
        rows.append([TITLES[str(step)], _interval(first, "", ".4f"), gain, *others])
    return rows


def ladder_markdown(ablation: pl.DataFrame) -> str:
    """Both splits as markdown tables."""
    parts = []
    for (split, n), _ in ablation.group_by("split", "n", maintain_order=True):
        heads = ["rung", "NDCG@20", "gain", *METRICS[1:]]
        parts += [
            f"### {split}: {n:,} samples",
            "",
            plain_table(heads, ladder_rows(ablation, str(split))),
            "",
        ]
    return "\n".join(parts)


def search_markdown(search: pl.DataFrame) -> str:
    """Every setting tried; the last column says which was chosen."""
    heads = ["round", "weight of S", "λ", "γ", "N_r", "N", "NDCG@20 on validation", ""]
    rows = []
    for row in search.iter_rows(named=True):
        marks = [mark for mark in ("chosen", "best", "configured") if row[mark]]
        cells = [row["round"], *(f"{row[name]:g}" for name in search.columns[1:6])]
        rows.append([*cells, _interval(row, "", ".4f"), ", ".join(marks)])
    return plain_table(heads, rows)


def _interval(row: dict[str, float], prefix: str, form: str) -> str:
    value = row[prefix or "value"]
    ends = (row[f"{prefix}_{end}" if prefix else end] for end in ("low", "high"))
    low, high = (format(end, form) for end in ends)
    return f"{value:{form}} [{low}, {high}]"
