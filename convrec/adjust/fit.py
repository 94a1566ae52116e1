"""Learns w and b, one a catalog item, from the ground truth of training conversations.

Listwise softmax over each context's candidates: for a sample with ground truth G among its
candidates, loss = −(1/|G|) Σ_{g∈G} log softmax(w_j·s_j + b_j)_g. Every sample pulls once; w is
pulled towards 1 and b towards 0 by `pull`·(Σ(w−1)² + Σb²), so that items without evidence stay as
they are. The problem is convex, so L-BFGS finds the one optimum whatever the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convrec.adjust.scores import candidate_scores
from convrec.artifacts import Built, Job, Step
from convrec.catalog.index import TitleIndex
from convrec.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from convrec.config import Config


@dataclass(frozen=True)
class Listwise:
    """Training samples over padded candidate lists: (samples, candidates) arrays."""

    items: np.ndarray  # catalog row of each candidate
    scores: np.ndarray  # s_reflect; −inf on padding
    target: np.ndarray  # 1/|G| on ground truth, 0 elsewhere


def listwise_loss(
    parameters: np.ndarray, data: Listwise, count: int, pull: float
) -> tuple[float, np.ndarray]:
    """(loss, gradient) at `parameters` = concat(w, b), both of length `count`, mean by sample."""
    import numpy as np

    weight, bias = parameters[:count], parameters[count:]
    known = np.isfinite(data.scores)
    scores = np.where(known, data.scores, 0.0)
    logits = np.where(known, weight[data.items] * scores + bias[data.items], -np.inf)
    logits -= logits.max(axis=1, keepdims=True)
    log_z = np.log(np.exp(logits).sum(axis=1, keepdims=True))
    log_p = np.where(known, logits - log_z, 0.0)
    samples = len(data.items)
    loss = -(data.target * log_p).sum() / samples
    error = np.where(known, np.exp(log_p) - data.target, 0.0) / samples
    gradient = np.concatenate(
        [
            np.bincount(data.items.ravel(), (error * scores).ravel(), minlength=count),
            np.bincount(data.items.ravel(), error.ravel(), minlength=count),
        ]
    )
    away = np.concatenate([weight - 1.0, bias])
    scale = pull / samples
    return float(loss + scale * (away**2).sum()), gradient + 2 * scale * away


def training_lists(job: Job, split: str) -> Listwise:
    """The samples of `split` with at least one ground truth among their candidates."""
    import numpy as np
    import polars as pl

    catalog = job.frame("catalog").select("item_id", "title", "year")
    index = TitleIndex(catalog.iter_rows())
    row_of = {item_id: row for row, item_id in enumerate(catalog["item_id"])}
    samples = job.frame("conversations").filter(pl.col("split") == split)
    wanted = samples["context_id"].unique().to_list()
    lists: dict[str, tuple[list[int], list[float]]] = {}
    scores = candidate_scores(job).filter(pl.col("context_id").is_in(wanted))
    for owner, item_id, score in scores.iter_rows():
        items, values = lists.setdefault(owner, ([], []))
        items.append(row_of[item_id])
        values.append(score)
    chosen = []
    for owner, seen, truth in samples.select("context_id", "seen", "ground_truth").iter_rows():
        gone = _rows(index, row_of, seen)
        goal = _rows(index, row_of, truth) - gone
        items, values = lists.get(owner, ([], []))
        kept = [(i, s, i in goal) for i, s in zip(items, values, strict=True) if i not in gone]
        if any(hit for _, _, hit in kept):
            chosen.append(kept)
    width = max(map(len, chosen), default=0)
    data = Listwise(
        np.zeros((len(chosen), width), dtype=np.int64),
        np.full((len(chosen), width), -np.inf),
        np.zeros((len(chosen), width)),
    )
    for row, kept in enumerate(chosen):
        hits = sum(hit for _, _, hit in kept)
        for column, (item, score, hit) in enumerate(kept):
            data.items[row, column], data.scores[row, column] = item, score
            data.target[row, column] = hit / hits
    return data


def _rows(index: TitleIndex, row_of: dict[str, int], titles: list[dict[str, Any]]) -> set[int]:
    found = (index.find(t["title"], t["year"]) for t in titles)
    return {row_of[item_id] for item_id in found if item_id is not None}


def _build(job: Job) -> Built:
    import numpy as np
    import polars as pl
    from scipy.optimize import minimize

    settings = job.config.adjust
    data = training_lists(job, "train")
    if not len(data.items):
        raise InputError(
            "adjust has nothing to learn from: no training conversation has a ground truth among "
            "its candidates; raise remap.keep, or set adjust.enabled=false"
        )
    item_ids = job.frame("catalog")["item_id"].to_list()
    count = len(item_ids)
    start = np.concatenate([np.ones(count), np.zeros(count)])
    done = minimize(
        listwise_loss,
        start,
        args=(data, count, settings.pull),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": settings.max_iterations},
    )
    held_out = training_lists(job, "validation")
    figures: dict[str, float | int | str] = {
        "samples": len(data.items),
        "iterations": int(done.nit),
        "train loss before": round(listwise_loss(start, data, count, 0.0)[0], 4),
        "train loss after": round(listwise_loss(done.x, data, count, 0.0)[0], 4),
    }
    if len(held_out.items):
        figures["validation loss before"] = round(listwise_loss(start, held_out, count, 0.0)[0], 4)
        figures["validation loss after"] = round(listwise_loss(done.x, held_out, count, 0.0)[0], 4)
    rows = pl.DataFrame({"item_id": item_ids, "weight": done.x[:count], "bias": done.x[count:]})
    return Built(rows, figures)


def _config(config: Config) -> dict[str, Any]:
    return config.adjust.model_dump(mode="json")


ADJUSTMENT = Step(stage="adjust", kind="adjustment", version=1, build=_build, config=_config)
