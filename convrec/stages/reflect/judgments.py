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

from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.config.sections import Reflect
from convrec.llm.read import NO_RESPONSE, failures_frame, responses_digest
from convrec.llm.requests import Request
from convrec.stages.base import ANSWERS_USABLE, Step, StepContext
from convrec.stages.reflect.bias import (
    bias_figures,
    pass_agreement,
    position_curve,
    position_effect,
)
from convrec.stages.reflect.judge_responses import JudgeResponses, slice_repairs
from convrec.stages.reflect.pairs import cached_pairs
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


def _build(ctx: StepContext) -> StepResult:
    reflect, pairs = ctx.config.reflect, cached_pairs(ctx)
    parts: list[pl.DataFrame] = []
    failures: list[tuple[str, str, bool]] = []
    requests = responses = unusable = repairs = 0
    for part in pairs.slices():
        parsed = parse_ratings(part.requests, ctx.store, reflect.scale)
        rated = _join_ratings(part.pairs, parsed.ratings)
        failed = _failures(rated, parsed)
        failures += [(pairs.context_ids[context], *why) for context, why in failed.items()]
        parts.append(rated.with_columns(pl.col("request") + requests))
        requests += part.requests.height
        responses += parsed.responses
        unusable += len(parsed.unusable)
        repairs += parsed.repaired
    rated = pl.concat(parts)
    ratings = _single_ratings(rated, pairs.items)
    curve = position_curve(ratings) if reflect.debias and ratings.height else None
    rows = _candidate_rows(rated, curve, reflect)
    rows = rows.with_columns(
        context_id=pairs.context_ids.gather(rows["context"]),
        item_id=pairs.items["item_id"].gather(rows["item"]),
    )
    unrated = rows["rating"].null_count()
    return StepResult(
        rows.select("context_id", "item_id", "rating", "ratings", "positions", "score"),
        {
            "contexts": rows["context"].n_unique(),
            "pairs without a rating": round(unrated / max(rows.height, 1), 4),
            ANSWERS_USABLE: f"{responses - unusable} of {responses}",
            "answers not usable": round(unusable / max(responses, 1), 4),
            "repairs": repairs,
            "failed contexts": len(failures),
            **pass_agreement(rows),
            **bias_figures(ratings),
        },
        failures_frame(failures),
        useless=NO_RATING.format(len(failures)) if rows.height and unrated == rows.height else "",
    )


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


def _candidate_rows(
    rated: pl.DataFrame, curve: np.ndarray | None, reflect: Reflect
) -> pl.DataFrame:
    """One row a candidate: mean rating, ratings and positions by pass, and s_reflect.

    With `curve` the effect of position is subtracted from each rating before the mean.
    """
    ratings = rated["rating"].cast(pl.Float64)
    if curve is not None:
        ratings = ratings - pl.Series(position_effect(rated, curve))
    by_candidate = (-1, reflect.passes)
    rows = rated.gather_every(reflect.passes).select(
        "context",
        "item",
        pl.col("score"),
        rating=ratings.reshape(by_candidate).arr.to_list().list.mean(),
        ratings=rated["rating"].reshape(by_candidate).arr.to_list(),
        positions=rated["position"].reshape(by_candidate).arr.to_list(),
    )
    unit = reflect.weight / reflect.scale
    return rows.with_columns(score=pl.col("score") + unit * pl.col("rating").fill_null(0.0))


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
