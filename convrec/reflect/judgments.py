"""The judgments artifact: one row for each candidate that a judge was to rate.

A rating is the mean over the passes. An answer that is not exactly the ratings asked for gets one
repair request; what is still unusable is recorded with its reason, and the candidate keeps s_remap.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from convrec.artifacts import Built, Job, Step
from convrec.llm.answers import AnswerStore
from convrec.llm.requests import Request, Requests
from convrec.llm.stored import NO_ANSWER, answers_digest, failed_contexts
from convrec.reflect.bias import agreement, bias_figures, position_curve, position_effect
from convrec.reflect.pairs import Pairs, known_requests, settle
from convrec.reflect.readings import Reading, first_readings, readings

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config


def judge_requests(job: Job) -> Requests:
    """The requests for pairs that nobody has asked about: one a context and pass."""
    import polars as pl

    pairs = Pairs(job)
    missing = pl.col("request_key").is_null()
    count = sum(
        frame.filter(missing).select("context_id", "pass").n_unique() for frame in pairs.slices()
    )

    def make() -> Iterator[Request]:
        for frame in pairs.slices():
            yield from (asked.request for asked in pairs.asked(frame))

    return Requests(make, count)


def repair_requests(job: Job) -> list[Request]:
    """The repair request of each stored answer that cannot be used."""
    scale = job.config.reflect.scale
    pairs = Pairs(job)
    found: dict[str, Request] = {}
    for frame in pairs.slices():
        shown = _shown(frame)
        shown |= {asked.request.key: len(asked.items) for asked in pairs.asked(frame)}
        for reading in first_readings(shown, job.store, scale).values():
            if reading.repair is not None:
                found[reading.repair.key] = reading.repair
    return list(found.values())


def _shown(frame: pl.DataFrame) -> dict[str, int]:
    """Request key → how many candidates it showed, of the requests that asked about a slice."""
    asked = frame.select("request_key", "shown").drop_nulls().unique("request_key")
    return dict(asked.iter_rows())


def _build(job: Job) -> Built:
    import polars as pl

    reflect = job.config.reflect
    parts: list[pl.DataFrame] = []
    failed: dict[str, tuple[str, bool]] = {}
    requests: dict[str, Reading] = {}
    pairs = Pairs(job)
    for frame in pairs.slices():
        found = readings(_shown(frame), job.store, reflect.scale)
        parts.append(_rated(frame, found))
        failed |= _failures(frame, found)
        requests |= {key: Reading({}, r.reason, r.repair) for key, r in found.items()}
    rated = pl.concat(parts)
    single = rated.drop_nulls("rating")
    figures = bias_figures(single)
    if reflect.debias and not single.is_empty():
        effect = position_effect(rated, position_curve(single))
        rated = rated.with_columns(debiased=pl.col("rating") - pl.Series(effect))
    else:
        rated = rated.with_columns(debiased=pl.col("rating").cast(pl.Float64))
    rows = _by_item(rated, reflect.weight / reflect.scale)
    refused = sum(1 for reading in requests.values() if reading.reason)
    return Built(
        rows,
        {
            "contexts": rows["context_id"].n_unique(),
            "pairs without a rating": round(rows["rating"].null_count() / max(rows.height, 1), 4),
            "answers not usable": round(refused / max(len(requests), 1), 4),
            "repairs": sum(1 for reading in requests.values() if reading.repair is not None),
            "failed contexts": len(failed),
            **agreement(rows),
            **figures,
        },
        failed_contexts([(owner, *why) for owner, why in failed.items()]),
    )


def _rated(frame: pl.DataFrame, found: dict[str, Reading]) -> pl.DataFrame:
    """A slice with the column rating, null where there is none."""
    import polars as pl

    told = [
        (key, position + 1, rating)
        for key, reading in found.items()
        for position, rating in reading.ratings.items()
    ]
    schema = {"request_key": pl.String, "position": pl.Int32, "rating": pl.Int32}
    ratings = pl.DataFrame(told, schema=schema, orient="row")
    return frame.drop("judge_key").join(
        ratings, on=["request_key", "position"], how="left", maintain_order="left"
    )


def _failures(frame: pl.DataFrame, found: dict[str, Reading]) -> dict[str, tuple[str, bool]]:
    """Context → (why a pass has no rating, whether for good); waiting for an answer comes first."""
    failed: dict[str, tuple[str, bool]] = {}
    lacking = Reading({}, NO_ANSWER)
    for owner, key in frame.select("context_id", "request_key").unique(maintain_order=True).rows():
        reading = found.get(key, lacking)
        if reading.reason and failed.get(owner, ("", True))[1]:
            failed[owner] = reading.reason, reading.final
    return failed


def _by_item(rated: pl.DataFrame, unit: float) -> pl.DataFrame:
    """One row a candidate; `unit` is what one rating point adds to the score, γ/L."""
    import polars as pl

    mean = pl.col("debiased").mean()
    grouped = rated.group_by("context_id", "item_id", maintain_order=True).agg(
        rating=mean,
        ratings=pl.col("rating"),
        positions=pl.col("position"),
        score=pl.col("score").first() + unit * mean.fill_null(0.0),
    )
    return grouped.select("context_id", "item_id", "rating", "ratings", "positions", "score")


def _config(config: Config) -> dict[str, Any]:
    reflect = config.reflect.model_dump(mode="json", exclude={"source"})
    return {"judge": config.reflect.model, **reflect}


def _answers(job: Job) -> dict[str, str]:
    """Digest of which pair was asked about where, and of every answer that is used."""
    total, answers = sha256(), AnswerStore(job.store)
    for frame in Pairs(job).slices():
        columns = ("context_id", "item", "pass", "position", "request_key")
        total.update(frame.select(columns).write_csv().encode())
        for row in sorted(answers.digests(_shown(frame)).items()):
            total.update("\x1f".join(row).encode() + b"\n")
    return {
        "answers": total.hexdigest(),
        "repairs": answers_digest(repair_requests(job), job.store),
    }


JUDGMENTS = Step(
    stage="reflect",
    kind="judgments",
    version=3,
    build=_build,
    config=_config,
    inputs=_answers,
    requests=judge_requests,
    repairs=repair_requests,
    settle=settle,
    known=known_requests,
)
