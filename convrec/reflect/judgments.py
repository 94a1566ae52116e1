"""The judgments artifact: one row for each candidate that a judge was to rate.

A rating is the mean over the passes. An answer that is not exactly the ratings asked for gets one
repair request; what is still unusable is recorded with its reason, and the candidate keeps s_remap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from convrec.artifacts import Built, Job, Step
from convrec.llm.answers import AnswerStore
from convrec.llm.requests import Request, Requests
from convrec.llm.stored import NO_ANSWER, answers_digest, answers_state, failed_contexts
from convrec.reflect.bias import agreement, bias_figures, position_curve, position_effect
from convrec.reflect.pairs import known_requests, pairs_of, settle
from convrec.reflect.readings import Reading, first_readings, readings

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from convrec.config import Config


def judge_requests(job: Job) -> Requests:
    """The requests for pairs that nobody has asked about: one a context and pass."""
    import polars as pl

    pairs = pairs_of(job)
    missing = pl.col("request_key").is_null()

    def count() -> int:
        return sum(
            frame.filter(missing).select("context_id", "pass").n_unique()
            for frame in pairs.slices()
        )

    def make() -> Iterator[Request]:
        for frame in pairs.slices():
            yield from (asked.request for asked in pairs.asked(frame))

    return Requests(make, count)


def repair_requests(job: Job) -> list[Request]:
    """The repair request of each stored answer that cannot be used, in the order of their keys."""
    pairs = pairs_of(job)
    found: dict[str, Request] = {}
    for frame in pairs.slices():
        shown = {asked.request.key: len(asked.items) for asked in pairs.asked(frame)}
        found |= _repairs(_shown(frame) | shown, job)
    return [found[key] for key in sorted(found)]


def _repairs(shown: Mapping[str, int], job: Job) -> dict[str, Request]:
    """The repair requests of these requests' answers, by their keys."""
    found = first_readings(shown, job.store, job.config.reflect.scale).values()
    return {reading.repair.key: reading.repair for reading in found if reading.repair is not None}


def _shown(frame: pl.DataFrame) -> dict[str, int]:
    """Request key → how many candidates it showed, of the requests that asked about a slice."""
    asked = frame.select("request_key", "shown").drop_nulls()
    asked = asked.unique("request_key", maintain_order=True)
    return dict(asked.iter_rows())


def _build(job: Job) -> Built:
    import polars as pl

    reflect = job.config.reflect
    parts: list[pl.DataFrame] = []
    singles: list[pl.DataFrame] = []
    failed: dict[str, tuple[str, bool]] = {}
    answers = refused = repairs = 0
    for frame in pairs_of(job).slices():
        found = readings(_shown(frame), job.store, reflect.scale)
        rated = _rated(frame, found)
        parts.append(_by_item(rated))
        singles.append(_single(rated, answers))
        failed |= _failures(frame, found)
        answers += len(found)
        refused += sum(1 for reading in found.values() if reading.reason)
        repairs += sum(1 for reading in found.values() if reading.repair is not None)
    single = pl.concat(singles)
    curve = position_curve(single) if reflect.debias and single.height else None
    unit = reflect.weight / reflect.scale
    rows = pl.concat([_scored(part, curve, unit) for part in parts])
    return Built(
        rows,
        {
            "contexts": rows["context_id"].n_unique(),
            "pairs without a rating": round(rows["rating"].null_count() / max(rows.height, 1), 4),
            "answers not usable": round(refused / max(answers, 1), 4),
            "repairs": repairs,
            "failed contexts": len(failed),
            **agreement(rows),
            **bias_figures(single),
        },
        failed_contexts([(owner, *why) for owner, why in failed.items()]),
    )


def _rated(frame: pl.DataFrame, found: dict[str, Reading]) -> pl.DataFrame:
    """A slice with the column rating, null where there is none, and the number of its request."""
    import polars as pl

    told = [
        (key, position + 1, rating)
        for key, reading in found.items()
        for position, rating in reading.ratings.items()
    ]
    schema = {"request_key": pl.String, "position": pl.Int32, "rating": pl.Int32}
    ratings = pl.DataFrame(told, schema=schema, orient="row")
    numbers = pl.DataFrame(
        {"request_key": list(found), "request": range(len(found))},
        schema={"request_key": pl.String, "request": pl.Int32},
    )
    return frame.join(
        ratings, on=["request_key", "position"], how="left", maintain_order="left"
    ).join(numbers, on="request_key", how="left", maintain_order="left")


def _single(rated: pl.DataFrame, before: int) -> pl.DataFrame:
    """One row a rating, with what it may wrongly hang on; requests counted on from `before`."""
    import polars as pl

    return rated.drop_nulls("rating").select(
        pl.col("request") + before,
        pl.col("rating", "position", "shown").cast(pl.Int16),
        length=pl.col("item").str.len_chars().cast(pl.Int16),
    )


def _by_item(rated: pl.DataFrame) -> pl.DataFrame:
    """One row a candidate, with its rating, position and number of candidates in every pass."""
    import polars as pl

    return rated.group_by("context_id", "item_id", maintain_order=True).agg(
        pl.col("score").first(),
        pl.col("rating").alias("ratings"),
        pl.col("position").alias("positions"),
        pl.col("shown"),
    )


def _scored(part: pl.DataFrame, curve: np.ndarray | None, unit: float) -> pl.DataFrame:
    """The artifact's rows: the mean rating, without `curve`, adds `unit` (γ/L) to the score."""
    import polars as pl

    passes = part.select("ratings", "positions", "shown").with_row_index("row")
    flat = passes.explode("ratings", "positions", "shown").rename(
        {"ratings": "rating", "positions": "position"}
    )
    rating = pl.col("rating").cast(pl.Float64)
    if curve is not None:
        rating = rating - pl.Series(position_effect(flat, curve))
    means = flat.with_columns(rating=rating).group_by("row", maintain_order=True)
    mean = means.agg(pl.col("rating").mean())["rating"]
    return part.with_columns(
        rating=mean, score=pl.col("score") + unit * mean.fill_null(0.0)
    ).select("context_id", "item_id", "rating", "ratings", "positions", "score")


def _failures(frame: pl.DataFrame, found: dict[str, Reading]) -> dict[str, tuple[str, bool]]:
    """Context → (why a pass has no rating, whether for good); waiting for an answer comes first."""
    failed: dict[str, tuple[str, bool]] = {}
    lacking = Reading({}, NO_ANSWER)
    for owner, key in frame.select("context_id", "request_key").unique(maintain_order=True).rows():
        reading = found.get(key, lacking)
        if reading.reason and failed.get(owner, ("", True))[1]:
            failed[owner] = reading.reason, reading.final
    return failed


def _config(config: Config) -> dict[str, Any]:
    reflect = config.reflect.model_dump(mode="json", exclude={"source"})
    return {"judge": config.reflect.model, **reflect}


def _answers(job: Job) -> dict[str, str]:
    """Digest of which pair was asked about where, and of every answer that is used."""
    total, answers, pairs = sha256(), AnswerStore(job.store), pairs_of(job)
    repairs: dict[str, Request] = {}
    for frame in pairs.slices():
        columns = ("context_id", "item", "pass", "position", "request_key")
        total.update(frame.select(columns).write_csv().encode())
        shown = _shown(frame)
        for row in sorted(answers.digests(shown).items()):
            total.update("\x1f".join(row).encode() + b"\n")
        unnoted = {asked.request.key: len(asked.items) for asked in pairs.asked(frame)}
        repairs |= _repairs(shown | unnoted, job)
    used = [repairs[key] for key in sorted(repairs)]
    return {"answers": total.hexdigest(), "repairs": answers_digest(used, job.store)}


def _state(job: Job) -> str:
    return answers_state(job, job.config.reflect.model, "llm_judged")


JUDGMENTS = Step(
    stage="reflect",
    kind="judgments",
    version=3,
    build=_build,
    config=_config,
    inputs=_answers,
    state=_state,
    requests=judge_requests,
    repairs=repair_requests,
    settle=settle,
    known=known_requests,
)
