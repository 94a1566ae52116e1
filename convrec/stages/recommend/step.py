"""recommend: the teacher's zero-shot ranked list for every context.

The prompt never depends on the catalog, so that a catalog edit never asks the teacher again. Each
context is asked once, however many users answered it. Paper: section on data construction, step 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.llm.prices import chat_limits
from convrec.llm.read import (
    NO_ANSWER,
    answers_digest,
    answers_state,
    failed_contexts,
    stored_texts,
)
from convrec.llm.requests import Request, Requests
from convrec.stages.base import Step, StepContext
from convrec.stages.ingest.contexts import contexts
from convrec.titles.line_format import Item, parse_answer

if TYPE_CHECKING:
    from convrec.config import Config


def teacher_messages(conversation: str, config: Config) -> list[dict[str, str]]:
    """The chat messages that ask for one ranked list."""
    rules = config.domain.teacher.format(
        n=config.list_length,
        noun=config.domain.noun,
        plural=config.domain.many,
        form=config.line_format.words,
    )
    return [
        {"role": "system", "content": rules},
        {"role": "user", "content": f"<conversation>\n{conversation}\n</conversation>"},
    ]


def teacher_requests(ctx: StepContext) -> Requests:
    """The request of each context, in order."""
    from convrec.llm.endpoint import endpoint_name

    config, teacher = ctx.config, ctx.config.recommend
    settings: dict[str, Any] = {
        "model": teacher.model,
        **chat_limits(
            teacher.model, "recommend.max_tokens", teacher.max_tokens, teacher.temperature
        ),
    }
    endpoint = endpoint_name(config)
    rows = contexts(ctx)

    def make() -> Iterator[Request]:
        for owner, text in rows.iter_rows():
            messages = teacher_messages(text, config)
            yield Request(owner, endpoint, {**settings, "messages": messages})

    return Requests(make, rows.height)


def _build(ctx: StepContext) -> StepResult:
    import polars as pl

    n, form = ctx.config.list_length, ctx.config.line_format
    owners: list[str] = []
    found: list[list[tuple[str, Item]]] = []
    failed: list[tuple[str, str, bool]] = []
    for request, text, reason in stored_texts(teacher_requests(ctx), ctx.store):
        owner, items = request.owner, parse_answer(text, form)[:n] if text else []
        if text and not items:
            reason = "the answer names no item"
        if reason:
            failed.append((owner, reason, reason != NO_ANSWER))
            continue
        owners.append(owner)
        found.append(items)
    lines = [raw for items in found for raw, _ in items]
    named = [item for items in found for _, item in items]
    lengths = pl.Series([len(items) for items in found], dtype=pl.UInt32)
    frame = pl.DataFrame(
        {
            "context_id": pl.Series(owners, dtype=pl.String),
            "rank": pl.int_ranges(1, lengths + 1, dtype=pl.Int32, eager=True),
        }
    ).explode("rank")
    frame = frame.with_columns(
        line=pl.Series(lines, dtype=pl.String),
        title=pl.Series([item.title for item in named], dtype=pl.String),
        year=pl.Series([item.year for item in named], dtype=pl.Int32),
    )
    figures = {
        "contexts": len(owners),
        "failed": len(failed),
        "items a list": round(frame.height / max(len(owners), 1), 2),
        "without a year": round(frame["year"].null_count() / max(frame.height, 1), 4),
    }
    return StepResult(frame, figures, failed_contexts(failed))


def _config(config: Config) -> dict[str, Any]:
    key = config.domain.changed("line", "line_without_year")
    return {"list_length": config.list_length, "teacher": config.recommend.model, **key}


TEACHER_LISTS = Step(
    stage="recommend",
    kind="teacher_lists",
    version=3,
    build=_build,
    config=_config,
    inputs=lambda ctx: {"answers": answers_digest(teacher_requests(ctx), ctx.store)},
    state=lambda ctx: answers_state(ctx.config, ctx.store, ctx.config.recommend.model, "recommend"),
    requests=teacher_requests,
)
