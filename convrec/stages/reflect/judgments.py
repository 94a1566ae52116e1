"""The judgments artifact: one row for each of the top N_r candidates of each context.

    s_reflect = s_remap + γ·rating/L

`rating` is the mean over the passes, minus the bias of position if `reflect.debias` is set. γ is
`reflect.weight`, L is `reflect.scale`, N_r is `reflect.top`. A response that is not exactly the
requested ratings gets one repair request. If that fails too, the reason is recorded and the
candidate keeps s_remap.

Departures from the paper: it rates once, with the teacher, N_r = 100; here each candidate is rated
`reflect.passes` times in different orders. Accounts of the paper differ on whether γ applies to the
rating or to rating/L.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl

from convrec.artifacts import StepResult
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.config import Config
from convrec.config.sections import Reflect
from convrec.llm.read import NO_RESPONSE, failures_frame, responses_digest
from convrec.llm.requests import Request
from convrec.stages.base import ANSWERS_USABLE, Step, StepContext
from convrec.stages.contexts import PARTITION
from convrec.stages.partitions import (
    NotedRows,
    SharedTables,
    build_partitions,
    read_notes,
    write_parquet,
)
from convrec.stages.reflect.bias import (
    agreement_sums,
    bias_figures,
    pass_agreement,
    position_curve,
    position_effect,
    rating_sums,
)
from convrec.stages.reflect.judge_responses import JudgeResponses, slice_repairs
from convrec.stages.reflect.pairs import SLICE_CONTEXTS, cached_pairs
from convrec.stages.reflect.parse import (
    ParsedRatings,
    UnusableResponse,
    parse_ratings,
    requests_digest,
)

NO_RATING = (
    "reflect got no rating for any of {} contexts. Change reflect.model, reflect.response_format "
    "or reflect.max_tokens, or set reflect.enabled=false to go on without a judge"
)
"""Why a run ends with this stage."""

BY_PASS = {"ratings": "rating", "positions": "position", "shown": "shown"}
"""Columns of a candidate that list a column of its pairs, by pass."""


def _build(ctx: StepContext) -> StepResult:
    contexts = len(cached_pairs(ctx).context_ids)
    rows = build_partitions(ctx, _build_partition, contexts, {}, chunk=SLICE_CONTEXTS)
    notes = read_notes(rows)
    sums = notes.drop("failures").sum().row(0, named=True)
    if ctx.config.reflect.debias and sums["ratings"]:
        rows = _without_bias(rows, position_curve(sums), ctx.config.reflect)
    failures = notes.select(pl.col("failures").explode()).unnest("failures")
    answers, usable = int(sums["answers"]), int(sums["answers"] - sums["unusable"])
    unrated = rows.height and sums["unrated"] == rows.height
    return StepResult(
        rows,
        {
            "contexts": contexts,
            "pairs without a rating": round(sums["unrated"] / max(rows.height, 1), 4),
            ANSWERS_USABLE: f"{usable} of {answers}",
            "answers not usable": round(sums["unusable"] / max(answers, 1), 4),
            "repairs": int(sums["repairs"]),
            "failed contexts": failures.height,
            **pass_agreement(sums),
            **bias_figures(sums),
        },
        failures,
        useless=NO_RATING.format(failures.height) if unrated else "",
    )


def _build_partition(
    ctx: StepContext, shared: SharedTables, start: int, stop: int
) -> Iterator[NotedRows]:
    """The judgments of the contexts `start` to `stop`, with s_reflect before `reflect.debias`.

    Rows also have what that needs: s_remap, and `shown` by pass. The notes of a slice are one row:
    `failures`, and sums.
    """
    pairs, reflect = cached_pairs(ctx), ctx.config.reflect
    for first in range(start, stop, SLICE_CONTEXTS):
        part = pairs.slice(first, min(first + SLICE_CONTEXTS, stop))
        parsed = parse_ratings(part.requests, ctx.store, reflect.scale)
        rated = _join_ratings(part.pairs, parsed.ratings)
        rows = _candidate_rows(rated, reflect)
        failed = _failures(rated, parsed).items()
        notes = {
            "failures": failures_frame([(pairs.context_ids[n], *why) for n, why in failed]),
            "answers": parsed.responses,
            "unusable": len(parsed.unusable),
            "repairs": parsed.repaired,
            "unrated": rows["rating"].null_count(),
            **rating_sums(_single_ratings(rated, pairs.items)),
            **agreement_sums(rows),
        }
        named = rows.with_columns(
            context_id=pairs.context_ids.gather(rows["context"]),
            item_id=pairs.items["item_id"].gather(rows["item"]),
        )
        yield NotedRows(named.drop("context", "item"), _one_row(notes))


def _one_row(values: Mapping[str, Any]) -> pl.DataFrame:
    """A row of numbers, and of frames as lists of structs."""
    return pl.DataFrame(
        {
            name: value.to_struct().implode() if isinstance(value, pl.DataFrame) else [float(value)]
            for name, value in values.items()
        }
    )


def _without_bias(rows: ParquetRows, curve: np.ndarray, reflect: Reflect) -> ParquetRows:
    """The rows with the effect of position subtracted from each rating, in new files."""

    def corrected(rated: pl.DataFrame) -> pl.DataFrame:
        passes = rated.select("positions", "shown", pl.col("ratings").alias("rating"))
        flat = passes.explode("rating", "positions", "shown").rename({"positions": "position"})
        ratings = flat["rating"] - pl.Series(position_effect(flat, curve))
        return _scored(rated, ratings, reflect)

    files = tuple(file.with_name(f"debiased-{file.name}") for file in rows.files)
    for source, target in zip(rows.files, files, strict=True):
        slices = pl.read_parquet(source, glob=False).iter_slices(PARTITION)
        write_parquet(map(corrected, slices), target)
    return ParquetRows(files, rows.cleanup)


def _join_ratings(pairs: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    """Add `rating` to pairs by request and position, as one number; null without a rating."""
    place = pl.col("request").cast(pl.Int64) * 2**32 + pl.col("position")
    by_place = ratings.select("rating", place=place)
    return (
        pairs.with_columns(place=place)
        .join(by_place, on="place", how="left", maintain_order="left")
        .drop("place")
    )


def _single_ratings(rated: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """One row a rating: request, rating, position, shown, length (characters of the line)."""
    lengths = items["item"].str.len_chars().cast(pl.Int16)
    rated = rated.drop_nulls("rating")
    columns = pl.col("rating", "position", "shown").cast(pl.Int16)
    return rated.select("request", columns, length=lengths.gather(rated["item"]))


def _candidate_rows(rated: pl.DataFrame, reflect: Reflect) -> pl.DataFrame:
    """One row a candidate: mean rating, ratings, positions and shown by pass, remap, score."""
    by_candidate = (-1, reflect.passes)
    lists = {name: rated[name].reshape(by_candidate).arr.to_list() for name in BY_PASS.values()}
    rows = rated.gather_every(reflect.passes).select(
        "context",
        "item",
        remap="score",
        **{name: lists[column] for name, column in BY_PASS.items()},
    )
    return _scored(rows, rated["rating"], reflect)


def _scored(rows: pl.DataFrame, ratings: pl.Series, reflect: Reflect) -> pl.DataFrame:
    """The rows with the mean rating and s_reflect; `ratings` has one of each pass, in order."""
    by_candidate = ratings.cast(pl.Float64).reshape((-1, reflect.passes))
    unit = reflect.weight / reflect.scale
    return rows.with_columns(rating=by_candidate.arr.to_list().list.mean()).with_columns(
        score=pl.col("remap") + unit * pl.col("rating").fill_null(0.0)
    )


def _failures(rated: pl.DataFrame, parsed: ParsedRatings) -> dict[int, tuple[str, bool]]:
    """Context → (why a pass has no rating, whether that is final); a missing response wins."""
    failures: dict[int, tuple[str, bool]] = {}
    unrated = rated.filter(pl.col("rating").is_null()).unique(
        ["context", "request"], maintain_order=True
    )
    no_response = UnusableResponse(NO_RESPONSE)
    for context, request in unrated.select("context", "request").iter_rows():
        failure = parsed.unusable.get(request, no_response)
        if failures.get(context, ("", True))[1]:
            failures[context] = failure.reason, failure.final
    return failures


def _config(config: Config) -> dict[str, Any]:
    reflect = config.reflect.identity_settings(exclude={"source"})
    return {"judge": config.reflect.model, **reflect}


def _inputs(ctx: StepContext) -> dict[str, str]:
    """Digests of which request asked about which pair, and of all responses and repairs used.

    The pairs and their order follow from the parents. `reading` is there only if the first version
    of the parser would read an answer otherwise.
    """
    total = sha256()
    repairs: dict[str, Request] = {}
    reread = 0
    for part in cached_pairs(ctx).slices():
        reread += parse_ratings(part.requests, ctx.store, ctx.config.reflect.scale).reread
        places = part.pairs.select(pl.col("request", "position").cast(pl.Int32).fill_null(-1))
        total.update(places.to_numpy().astype("<i4", order="C").tobytes())
        total.update(requests_digest(part.requests, ctx.store).encode())
        repairs |= slice_repairs(ctx, part)
    used = [repairs[key] for key in sorted(repairs)]
    reading = {"reading": "2"} if reread else {}
    return {
        "answers": total.hexdigest(),
        "repairs": responses_digest(used, ctx.store),
        **reading,
    }


JUDGMENTS = Step(
    stage="reflect",
    kind="judgments",
    version=4,
    build=_build,
    config=_config,
    inputs=_inputs,
    responses=JudgeResponses(),
)
