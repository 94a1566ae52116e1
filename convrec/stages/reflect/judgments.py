"""The judgments artifact: one row for each candidate that a judge was to rate.

A rating is the mean over the passes. An answer that is not exactly the ratings asked for gets one
repair request; what is still unusable is recorded with its reason, and the candidate keeps s_remap.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.llm.read import NO_ANSWER, answers_digest, answers_state, failed_contexts
from convrec.llm.requests import Request, Requests
from convrec.stages.base import Step, StepContext
from convrec.stages.reflect.bias import agreement, bias_figures, position_curve, position_effect
from convrec.stages.reflect.pair_index import (
    index_stored_responses,
    open_batch_requests,
    record_responses,
)
from convrec.stages.reflect.pairs import Slice, known_requests, pairs_of
from convrec.stages.reflect.parse import (
    Lack,
    ParsedRatings,
    answered,
    first_readings,
    parse_ratings,
)

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from convrec.config import Config
    from convrec.config.sections import Reflect


def judge_requests(ctx: StepContext) -> Requests:
    """The requests for pairs that nobody has asked about: one a context and pass."""
    import polars as pl

    pairs = pairs_of(ctx)
    missing = pl.col("request").is_null()

    def count() -> int:
        return sum(
            some.pairs.filter(missing).select("context", "pass").n_unique()
            for some in pairs.slices()
        )

    def make() -> Iterator[Request]:
        for some in pairs.slices():
            yield from (asked.request for asked in pairs.asked(some))

    return Requests(make, count)


def repair_requests(ctx: StepContext) -> list[Request]:
    """The repair request of each stored answer that cannot be used, in the order of their keys."""
    found: dict[str, Request] = {}
    for some in pairs_of(ctx).slices():
        first = first_readings(_requests(ctx, some), ctx.store, ctx.config.reflect.scale)
        found |= {repair.key: repair for repair in first.repairs()}
    return [found[key] for key in sorted(found)]


def _requests(ctx: StepContext, some: Slice) -> pl.DataFrame:
    """The requests that asked about a slice, and those for pairs that nobody has asked about."""
    import polars as pl

    unnoted = [(asked.request.key, len(asked.items)) for asked in pairs_of(ctx).asked(some)]
    return pl.concat([some.requests, pl.DataFrame(unnoted, some.requests.schema, orient="row")])


def _build(ctx: StepContext) -> StepResult:
    import polars as pl

    reflect, pairs = ctx.config.reflect, pairs_of(ctx)
    parts: list[pl.DataFrame] = []
    failed: list[tuple[str, str, bool]] = []
    asked = answers = refused = repairs = 0
    for some in pairs.slices():
        found = parse_ratings(some.requests, ctx.store, reflect.scale)
        place = pl.col("request").cast(pl.Int64) * 2**32 + pl.col("position")
        ratings = found.ratings.select("rating", place=place)
        rated = some.pairs.with_columns(place=place).join(
            ratings, on="place", how="left", maintain_order="left"
        )
        rated = rated.drop("place")
        lacking = _failures(rated, found)
        failed += [(pairs.owners[context], *why) for context, why in lacking.items()]
        parts.append(rated.with_columns(pl.col("request") + asked))
        asked += some.requests.height
        answers += found.answers
        refused += len(found.lacking)
        repairs += found.repaired
    rated = pl.concat(parts)
    single = _single(rated, pairs.items)
    curve = position_curve(single) if reflect.debias and single.height else None
    rows = _scored(rated, curve, reflect)
    rows = rows.with_columns(
        context_id=pairs.owners.gather(rows["context"]),
        item_id=pairs.items["item_id"].gather(rows["item"]),
    )
    return StepResult(
        rows.select("context_id", "item_id", "rating", "ratings", "positions", "score"),
        {
            "contexts": rows["context"].n_unique(),
            "pairs without a rating": round(rows["rating"].null_count() / max(rows.height, 1), 4),
            "answers not usable": round(refused / max(answers, 1), 4),
            "repairs": repairs,
            "failed contexts": len(failed),
            **agreement(rows),
            **bias_figures(single),
        },
        failed_contexts(failed),
    )


def _single(rated: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """One row a rating, with what it may wrongly hang on."""
    import polars as pl

    lengths = items["item"].str.len_chars().cast(pl.Int16)
    rated = rated.drop_nulls("rating")
    return rated.select(
        "request", pl.col("rating", "position", "shown").cast(pl.Int16)
    ).with_columns(length=lengths.gather(rated["item"]))


def _scored(rated: pl.DataFrame, curve: np.ndarray | None, reflect: Reflect) -> pl.DataFrame:
    """One row a candidate, its passes as lists: γ/L times the mean rating adds to the score.

    The ratings that are averaged are without `curve`, the bias of position.
    """
    import polars as pl

    single = rated["rating"].cast(pl.Float64)
    if curve is not None:
        single = single - pl.Series(position_effect(rated, curve))
    each = (-1, reflect.passes)
    by_item = rated.gather_every(reflect.passes).select(
        "context",
        "item",
        pl.col("score"),
        rating=single.reshape(each).arr.to_list().list.mean(),
        ratings=rated["rating"].reshape(each).arr.to_list(),
        positions=rated["position"].reshape(each).arr.to_list(),
    )
    weight = reflect.weight / reflect.scale
    return by_item.with_columns(score=pl.col("score") + weight * pl.col("rating").fill_null(0.0))


def _failures(rated: pl.DataFrame, found: ParsedRatings) -> dict[int, tuple[str, bool]]:
    """Context → (why a pass has no rating, whether for good); waiting for an answer comes first."""
    import polars as pl

    failed: dict[int, tuple[str, bool]] = {}
    without = rated.filter(pl.col("rating").is_null()).unique(
        ["context", "request"], maintain_order=True
    )
    waiting = Lack(NO_ANSWER)
    for context, request in without.select("context", "request").iter_rows():
        lack = found.lacking.get(request, waiting)
        if failed.get(context, ("", True))[1]:
            failed[context] = lack.reason, lack.final
    return failed


def _config(config: Config) -> dict[str, Any]:
    reflect = config.reflect.model_dump(mode="json", exclude={"source"})
    return {"judge": config.reflect.model, **reflect}


def _answers(ctx: StepContext) -> dict[str, str]:
    """Digest of which pair was asked about where, and of every answer that is used."""
    import polars as pl

    total = sha256()
    repairs: dict[str, Request] = {}
    for some in pairs_of(ctx).slices():  # whose pairs and their order are those of the parents
        asked = some.pairs.select(pl.col("request", "position").cast(pl.Int32).fill_null(-1))
        total.update(asked.to_numpy().astype("<i4", order="C").tobytes())
        total.update(answered(some.requests, ctx.store).encode())
        first = first_readings(_requests(ctx, some), ctx.store, ctx.config.reflect.scale)
        repairs |= {repair.key: repair for repair in first.repairs()}
    used = [repairs[key] for key in sorted(repairs)]
    return {"answers": total.hexdigest(), "repairs": answers_digest(used, ctx.store)}


def _state(ctx: StepContext) -> str:
    return answers_state(ctx.config, ctx.store, ctx.config.reflect.model, "reflect", "llm_judged")


JUDGMENTS = Step(
    stage="reflect",
    kind="judgments",
    version=4,
    build=_build,
    config=_config,
    inputs=_answers,
    state=_state,
    requests=judge_requests,
    repairs=repair_requests,
    recall=index_stored_responses,
    ordered=open_batch_requests,
    settle=record_responses,
    known=known_requests,
)
