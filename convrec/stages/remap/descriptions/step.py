"""The descriptions artifact: keywords and a plot of items, and of titles outside the catalog.

`source` says where a description comes from: `facts` (the catalog's or those of `remap.facts`),
`known` (the LLM knows the item) or `plausible` (the LLM made it up from title and year, for want of
knowledge). A row without an item_id describes a title of the teacher that the catalog lacks. An
item whose answer cannot be used has no row, and is compared by what the catalog has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.artifacts.frames import artifact_frame
from convrec.artifacts.identity import digest
from convrec.artifacts.tables import KINDS
from convrec.config import Config
from convrec.llm.answer import read_answer
from convrec.llm.answer_check import Defect, ending_advice
from convrec.llm.read import (
    NO_RESPONSE,
    failures_frame,
    responses_digest,
    responses_state,
    stored_answers,
)
from convrec.llm.requests import LazyRequests, Request, distinct
from convrec.stages.base import (
    ANSWERS_USABLE,
    AnswerQuality,
    ResponseSource,
    Step,
    StepContext,
    stored_quality,
)
from convrec.stages.remap.descriptions.parse import read_description
from convrec.stages.remap.descriptions.requests import (
    describing_model,
    description_requests,
    items_to_describe,
    requests_of,
)


def is_described(config: Config) -> bool:
    """Whether remap compares descriptions."""
    return config.remap.describe != "off"


def _asks(config: Config) -> bool:
    return config.remap.describe in ("missing", "all")


def _build(ctx: StepContext) -> StepResult:
    items = items_to_describe(ctx)
    if not _asks(ctx.config):
        names = items.select("item_id", "title", "year", source=pl.lit("facts"), plot="facts")
        rows = names.with_columns(keywords=pl.lit([], dtype=pl.List(pl.String)))
        return StepResult(rows.select(list(KINDS["descriptions"])), _figures(rows))
    described: list[dict[str, Any]] = []
    failed: list[tuple[str, str, bool]] = []
    answers = stored_answers(requests_of(items, ctx.config), ctx.store)
    for (item_id, title, year, facts), (request, answer) in zip(
        items.iter_rows(), answers, strict=True
    ):
        found, reason = read_description(answer)
        if found is None:
            failed.append((request.owner, reason, reason != NO_RESPONSE))
            continue
        source = "facts" if facts else "known" if found.known else "plausible"
        item = {"item_id": item_id, "title": title, "year": year, "source": source}
        described.append({**item, "keywords": found.keywords, "plot": found.plot})
    rows = artifact_frame("descriptions", described)
    answered = rows.height + sum(final for *_, final in failed)
    return StepResult(
        rows,
        {ANSWERS_USABLE: f"{rows.height} of {answered}", **_figures(rows), "failed": len(failed)},
        failures_frame(failed),
        useless=""
        if rows.height or not failed
        else f"remap got no description of any of {len(failed)} items. Change "
        "remap.describe_model, remap.describe_max_tokens or the prompt in domain.describe, or set "
        "remap.describe=off",
    )


def _figures(rows: pl.DataFrame) -> dict[str, float | int | str]:
    sources = dict(rows["source"].value_counts(sort=True).iter_rows())
    return {
        "catalog items described": rows["item_id"].count(),
        "titles outside the catalog described": rows["item_id"].null_count(),
        **{f"from {name}": count for name, count in sorted(sources.items())},
    }


def _config(config: Config) -> dict[str, Any]:
    domain = config.domain.identity_settings("describe")
    model = {"model": describing_model(config)} if _asks(config) else {}
    return {**config.remap.identity_settings("describe"), **model, **domain}


def _inputs(ctx: StepContext) -> dict[str, str]:
    if _asks(ctx.config):
        return {"answers": responses_digest(description_requests(ctx), ctx.store)}
    facts = items_to_describe(ctx).select("item_id", "title", "year", "facts")
    return {"facts": digest(facts.rows())}


class DescriptionResponses(ResponseSource):
    """One answer for each item text; none with `remap.describe=facts`."""

    def needed(self, config: Config) -> bool:
        """Whether an LLM describes."""
        return _asks(config)

    def requests(self, ctx: StepContext) -> LazyRequests:
        """The request of each item, in order."""
        return description_requests(ctx)

    def state(self, ctx: StepContext) -> str:
        """A digest of the model's stored answers, if they and the parents are all that is read."""
        if ctx.config.remap.facts or ctx.config.remap.fact_source:
            return ""
        return responses_state(ctx.config, ctx.store, describing_model(ctx.config), "remap")

    def quality(self, ctx: StepContext) -> AnswerQuality:
        """The answers without a description."""
        return stored_quality(distinct(description_requests(ctx)), ctx.store, read_description)

    def find_defect(
        self, ctx: StepContext, request: Request, response: Mapping[str, Any]
    ) -> Defect | None:
        """Why an answer has no description; None if it has one."""
        answer = read_answer(response)
        found, reason = read_description(answer)
        if found is not None:
            return None
        limit, model = ctx.config.remap.describe_max_tokens, describing_model(ctx.config)
        advice = (
            ending_advice(answer, "remap.describe_max_tokens", limit, "remap.describe_model")
            or f"Change the prompt in domain.describe or the model (now {model})"
        )
        return Defect(reason, advice, answer.text or answer.content)


DESCRIPTIONS = Step(
    stage="remap",
    kind="descriptions",
    version=1,
    build=_build,
    config=_config,
    inputs=_inputs,
    responses=DescriptionResponses(),
)
"""Parents: `catalog`, `teacher_lists`."""
