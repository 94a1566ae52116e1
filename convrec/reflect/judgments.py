"""The judgments artifact: one row for each rated candidate of each context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import Built, Job, Step
from convrec.lists import format_line
from convrec.llm.requests import Request
from convrec.llm.stored import answers_digest, stored_texts
from convrec.recommend import contexts
from convrec.reflect.judge import judge_body, read_ratings, shown_order

if TYPE_CHECKING:
    from convrec.config import Config


def _shown(job: Job) -> dict[str, list[tuple[str, float]]]:
    """Context → its top N_r candidates (item id, s_remap) in the order that the judge sees."""
    import polars as pl

    top = job.frame("candidates").filter(pl.col("rank") <= job.config.reflect.top)
    ranked: dict[str, list[tuple[str, float]]] = {}
    for owner, item_id, score in top.select("context_id", "item_id", "score").iter_rows():
        ranked.setdefault(owner, []).append((item_id, score))
    return {
        owner: [items[n] for n in shown_order(owner, len(items))] for owner, items in ranked.items()
    }


def judge_requests(job: Job) -> list[Request]:
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
    return [
        Request(owner, endpoint, judge_body(talk[owner], [line[i] for i, _ in shown], job.config))
        for owner, shown in _shown(job).items()
    ]


def _build(job: Job) -> Built:
    import polars as pl

    reflect = job.config.reflect
    texts, failures = stored_texts(judge_requests(job), job.store)
    rows: list[tuple[str, str, int | None, int, float]] = []
    malformed = 0
    for owner, shown in _shown(job).items():
        ratings: dict[int, int] = {}
        try:
            if owner in texts:
                ratings = read_ratings(texts[owner], len(shown), reflect.scale)
        except ValueError:
            malformed += 1
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
    half = max(frame["position"].max() or 2, 2) // 2  # type: ignore[operator]
    early = frame.filter(pl.col("position") <= half)["rating"].mean()
    late = frame.filter(pl.col("position") > half)["rating"].mean()
    figures = {
        "contexts": frame["context_id"].n_unique(),
        "unrated": round(frame["rating"].null_count() / max(frame.height, 1), 4),
        "malformed answers": malformed,
        "mean rating, early positions": round(float(early or 0), 4),  # type: ignore[arg-type]
        "mean rating, late positions": round(float(late or 0), 4),  # type: ignore[arg-type]
    }
    return Built(frame, figures, failures)


def _config(config: Config) -> dict[str, Any]:
    return {"judge": config.reflect.model, **config.reflect.model_dump(mode="json")}


JUDGMENTS = Step(
    stage="reflect",
    kind="judgments",
    version=1,
    build=_build,
    config=_config,
    inputs=lambda job: {"answers": answers_digest(judge_requests(job), job.store)},
    requests=judge_requests,
)
