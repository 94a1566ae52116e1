"""The judgments artifact: one row for each rated candidate of each context.

An answer that is not exactly the ratings asked for gets one repair request; what is still unusable
is recorded with its reason, and the context keeps s_remap.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from convrec.artifacts import Built, Job, Step
from convrec.lists import format_line
from convrec.llm.requests import Request, Requests
from convrec.llm.stored import NO_ANSWER, answers_digest, failed_contexts, stored_texts
from convrec.recommend import contexts
from convrec.reflect.judge import judge_body, read_ratings, repair_body, shown_order

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config

Shown = list[tuple[str, float]]
"""Candidates (item id, s_remap) in the order that the judge sees."""


def _shown(job: Job) -> Iterator[tuple[str, Shown]]:
    """(context, its top N_r candidates) for each context, in order."""
    import polars as pl

    top = job.frame("candidates").filter(pl.col("rank") <= job.config.reflect.top)
    rows = top.select("context_id", "item_id", "score").iter_rows()
    for owner, group in groupby(rows, key=lambda row: row[0]):
        items = [(item_id, score) for _, item_id, score in group]
        yield owner, [items[n] for n in shown_order(owner, len(items))]


def judge_requests(job: Job) -> Requests:
    """The request of each context that has candidates, in order."""
    from convrec.llm.endpoint import endpoint_name

    endpoint = endpoint_name(job.config)
    line = {
        item_id: format_line(title, year)
        for item_id, title, year in job.frame("catalog")
        .select("item_id", "title", "year")
        .iter_rows()
    }
    rows = contexts(job.frame("conversations")).select("context_id", "conversation")
    talk = dict(rows.iter_rows())

    def make() -> Iterator[Request]:
        for owner, shown in _shown(job):
            body = judge_body(talk[owner], [line[i] for i, _ in shown], job.config)
            yield Request(owner, endpoint, body)

    return Requests(make, job.frame("candidates")["context_id"].n_unique())


def repair_requests(job: Job) -> list[Request]:
    """The repair request of each context whose stored answer cannot be used."""
    return [repair for *_, repair in _readings(job) if repair is not None]


def _readings(job: Job) -> Iterator[tuple[str, Shown, dict[int, int], str, Request | None]]:
    """(context, shown, ratings, reason without ratings, repair request) from the first answers."""
    scale = job.config.reflect.scale
    texts = stored_texts(judge_requests(job), job.store)
    for (owner, shown), (request, text, reason) in zip(_shown(job), texts, strict=True):
        ratings: dict[int, int] = {}
        repair = None
        if text is not None:
            try:
                ratings = read_ratings(text, len(shown), scale)
            except ValueError as error:
                reason = str(error)
                body = repair_body(request.body, text, reason)
                repair = Request(owner, request.endpoint, body)
        yield owner, shown, ratings, reason, repair


def _repaired(job: Job) -> dict[str, tuple[str | None, str]]:
    """Context → (text of the repaired answer, why there is none)."""
    texts = stored_texts(repair_requests(job), job.store)
    return {request.owner: (text, reason) for request, text, reason in texts}


def _build(job: Job) -> Built:
    import polars as pl

    reflect = job.config.reflect
    repaired = _repaired(job)
    rows: list[tuple[str, str, int | None, int, float]] = []
    failed: list[tuple[str, str, bool]] = []
    for owner, shown, first, reason, repair in _readings(job):
        ratings = first
        if repair is not None:
            text, lack = repaired[owner]
            try:
                ratings = read_ratings(text or "", len(shown), reflect.scale)
                reason = ""
            except ValueError as error:
                reason = lack or f"not usable, and repaired neither: {error}"
        if reason:
            failed.append((owner, reason, reason != NO_ANSWER))
        for position, (item_id, score) in enumerate(shown):
            rating = ratings.get(position)
            moved = score + reflect.weight * (rating or 0) / reflect.scale
            rows.append((owner, item_id, rating, position + 1, moved))
    frame = pl.DataFrame(
        rows,
        schema={
            "context_id": pl.String,
            "item_id": pl.String,
            "rating": pl.Int32,
            "position": pl.Int32,
            "score": pl.Float64,
        },
        orient="row",
    )
    figures = {
        **_figures(frame),
        "repaired": len(repaired),
        "failed": len(failed),
    }
    return Built(frame, figures, failed_contexts(failed))


def _figures(frame: pl.DataFrame) -> dict[str, float | int]:
    import polars as pl

    half = max(frame["position"].max() or 2, 2) // 2  # type: ignore[operator]
    early = frame.filter(pl.col("position") <= half)["rating"].mean()
    late = frame.filter(pl.col("position") > half)["rating"].mean()
    return {
        "contexts": frame["context_id"].n_unique(),
        "unrated": round(frame["rating"].null_count() / max(frame.height, 1), 4),
        "mean rating, early positions": round(float(early or 0), 4),  # type: ignore[arg-type]
        "mean rating, late positions": round(float(late or 0), 4),  # type: ignore[arg-type]
    }


def _config(config: Config) -> dict[str, Any]:
    reflect = config.reflect.model_dump(mode="json", exclude={"source"})
    return {"judge": config.reflect.model, **reflect}


def _answers(job: Job) -> dict[str, str]:
    asked = answers_digest(judge_requests(job), job.store)
    return {"answers": asked, "repairs": answers_digest(repair_requests(job), job.store)}


JUDGMENTS = Step(
    stage="reflect",
    kind="judgments",
    version=2,
    build=_build,
    config=_config,
    inputs=_answers,
    requests=judge_requests,
    repairs=repair_requests,
)
