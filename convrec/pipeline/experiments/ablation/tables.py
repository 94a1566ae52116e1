"""The ablation, the settings search and its sensitivity as markdown tables."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import polars as pl

from convrec.pipeline.experiments.ablation.ladder import METRICS
from convrec.pipeline.experiments.ablation.sensitivity import (
    chosen_text,
    sensitivity_rows,
    sensitivity_svg,
)
from convrec.stages.evaluate.report.markdown import estimate_text
from convrec.utils.markdown import markdown_table

STEP_LABELS = {
    "raw": "raw, exact match",
    "fuzzy": "+ fuzzy links",
    "similar": "+ similarity S",
    "talk": "+ conversation s_conv",
    "described": "descriptions instead of titles",
    "embedded": "embeddings instead of TF-IDF",
    "judged": "+ reflect",
    "adjusted": "+ adjust",
}


def ladder_rows(ablation: pl.DataFrame, split: str) -> list[list[str]]:
    """One row a step: label, NDCG@20 and its gain with intervals, then the other metrics."""
    rows = []
    chosen = ablation.filter(ablation["split"] == split)
    for (step,), metrics in chosen.group_by("step", maintain_order=True):
        by_name = {row["metric"]: row for row in metrics.iter_rows(named=True)}
        ndcg = by_name["ndcg@20"]
        gain = ""
        if ndcg["gain"] is not None:
            ends = {"low": ndcg["gain_low"], "high": ndcg["gain_high"]}
            gain = estimate_text({"value": ndcg["gain"], **ends}, "+.4f")
        others = [f"{by_name[name]['value']:.4f}" for name in METRICS[1:]]
        rows.append([STEP_LABELS[str(step)], estimate_text(ndcg, ".4f"), gain, *others])
    return rows


def missing_text(missing: Mapping[str, str]) -> list[str]:
    """One sentence for each step that is missing (see `missing_steps`)."""
    return [f"Without the step {STEP_LABELS[s]!r}: {reason}." for s, reason in missing.items()]


def ladder_markdown(ablation: pl.DataFrame, missing: Mapping[str, str] = {}) -> str:
    """Format the ablation, one table a split, and why steps are missing."""
    parts = []
    for (split, n), _ in ablation.group_by("split", "n", maintain_order=True):
        headers = ["step", "NDCG@20", "gain", *METRICS[1:]]
        parts += [
            f"### {split}: {n:,} samples",
            "",
            markdown_table(headers, ladder_rows(ablation, str(split))),
            "",
        ]
    return "\n\n".join(["\n".join(parts), *missing_text(missing)])


def search_markdown(search: pl.DataFrame) -> str:
    """Format every tried setting; the last column flags the chosen, best and configured ones.

    Before them, how much each setting matters.
    """
    return "\n\n".join([*_sensitivity(search), "### Settings tried", _tried(search)])


def _sensitivity(search: pl.DataFrame) -> list[str]:
    rows = sensitivity_rows(search)
    if not rows:
        return [
            "How much each setting matters is not known: there is no test split, or an earlier "
            "version made this search; repeat it with `--refresh evaluate`."
        ]
    headers = ["setting", "profile", "tried", "worst on test", "best on test"]
    data = base64.b64encode(sensitivity_svg(search).encode()).decode()
    return [
        "### One setting changed at a time",
        "Differences in NDCG@20 to the profile's lists, paired by sample, on the test split, which "
        "chose nothing. " + chosen_text(search),
        markdown_table(headers, rows),
        f"![NDCG@20 by setting](data:image/svg+xml;base64,{data})",
    ]


def _tried(search: pl.DataFrame) -> str:
    headers = ["round", "weight of S", "λ", "γ", "N_r", "N", "NDCG@20", ""]
    rows = []
    for row in search.iter_rows(named=True):
        flags = [flag for flag in ("chosen", "best", "configured") if row[flag]]
        cells = [row["round"], *(f"{row[name]:g}" for name in search.columns[1:6])]
        rows.append([*cells, estimate_text(row, ".4f"), ", ".join(flags)])
    return markdown_table(headers, rows)
