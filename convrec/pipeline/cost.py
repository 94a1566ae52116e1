"""The requests, tokens and dollars that a node would still spend, as `convrec plan` shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.llm.endpoint import endpoint_name
from convrec.llm.estimate import CostEstimate, ExpectedBytes, OutputKind, estimate_cost
from convrec.llm.read import missing_requests
from convrec.llm.requests import Request, distinct
from convrec.pipeline.graph import Node
from convrec.stages.base import StepContext
from convrec.stages.contexts import conversation_contexts, text_slices
from convrec.stages.reflect.pairs import MAX_DESCRIPTION
from convrec.stages.reflect.prompt import expected_response_bytes, judge_body
from convrec.stages.remap.cost_estimate import EmbeddingCost, estimate_embedding_cost
from convrec.stages.remap.descriptions.requests import (
    expected_description_bytes,
    items_to_describe,
    requests_of,
)
from convrec.stages.responses import answer_source

OUTPUT_KINDS: dict[str, OutputKind] = {
    "teacher_lists": "titles",
    "descriptions": "prompt",
    "judgments": "ratings",
}
"""Nodes that read answers, and what these consist of."""

SAMPLE = 2000
"""Conversations from which the length of a title line is taken."""

TITLES_PER_ROOT_OF_LINES = 10.0
"""Titles outside the catalog that a teacher names, over the square root of the lines that it
writes, before it has written any: 5 on the demo, 13 by GPT-3.5 on INSPIRED."""

TYPICAL_LINE = 21
"""Bytes of "Title (year)" where the conversations name no title."""


def cost_row(requests: int, cost: CostEstimate) -> dict[str, Any]:
    """A cost as `convrec plan --json` writes it."""
    return {
        "requests": requests,
        "usd_low": cost.usd_low,
        "usd_high": cost.usd_high,
        "prompt_tokens": round(cost.prompt_tokens),
        "completion_tokens": round(cost.completion_tokens),
    }


def most_requests(row: Mapping[str, Any]) -> int:
    """The most requests of a cost: `requests_high`, or `requests` where these are exact."""
    return int(row.get("requests_high", row["requests"]))


def requests_text(requests: int, most: int) -> str:
    """How many requests, for a sentence: one number, or a range."""
    return f"{requests:,}" if most == requests else f"{requests:,} to {most:,}"


def response_cost(node: Node, ctx: StepContext) -> tuple[dict[str, Any], int]:
    """The cost of a node's missing responses, and how many are missing."""
    if node.step.responses is None:
        raise ValueError(f"{node.name} reads no LLM responses")
    config, count = ctx.config, 0
    source = answer_source(node.step, config)
    requests = distinct(node.step.responses.requests(ctx))

    def missing() -> Iterator[Request]:
        nonlocal count
        for request in missing_requests(requests, ctx.store):
            count += 1
            yield request

    if source not in ("live", "batch"):  # a file is read
        return cost_row(0, CostEstimate()), sum(1 for _ in missing())
    cost = estimate_cost(
        missing(),
        config=config,
        store=ctx.store,
        stage=node.stage,
        output_kind=OUTPUT_KINDS[node.name],
        expected_bytes=_expected_bytes(node, ctx),
        batch=source == "batch",
    )
    return cost_row(count, cost), count


def undescribed_items(ctx: StepContext) -> pl.Series:
    """The ids of catalog items whose description is still to be bought."""
    items = items_to_describe(ctx).drop_nulls("item_id")
    requests = list(requests_of(items, ctx.config))
    missing = {request.key for request in missing_requests(requests, ctx.store)}
    to_buy = pl.Series([request.key in missing for request in requests], dtype=pl.Boolean)
    return items["item_id"].filter(to_buy)


def judge_cost_bound(node: Node, ctx: StepContext, undescribed: pl.Series) -> dict[str, Any]:
    """The judge's cost if items without a description became candidates of every context.

    Whose candidates they become is known once they are described.
    """
    candidates = ctx.frame("candidates", "context_id", "item_id", "score", "rank")
    items = undescribed.head(ctx.config.reflect.top).to_frame("item_id").with_row_index("rank", 1)
    added = candidates.select(pl.col("context_id").unique(maintain_order=True)).join(
        items.with_columns(pl.col("rank").cast(candidates.schema["rank"]), score=pl.lit(0.0)),
        how="cross",
    )
    moved = candidates.join(added, on=["context_id", "item_id"], how="anti")
    moved = moved.with_columns(pl.col("rank") + items.height)
    both = pl.concat([added.select(moved.columns), moved], how="vertical_relaxed")
    frames = {**ctx.frames, "candidates": both}
    row, _ = response_cost(node, replace(ctx, frames=frames))
    return row


def _expected_bytes(node: Node, ctx: StepContext) -> ExpectedBytes:
    """How long the answers to a node's requests are expected to be."""
    if node.name == "descriptions":
        answer_bytes = expected_description_bytes(ctx.config)
        return lambda body: answer_bytes
    if node.name == "judgments":
        return lambda body: expected_response_bytes(body, ctx.config.reflect.scale)
    list_bytes = _typical_list_bytes(ctx)
    return lambda body: list_bytes


def description_cost_range(known: StepContext) -> dict[str, Any]:
    """The cost of descriptions before the teacher's lists are known.

    At least the catalog is described. Requests and tokens are with `assumed_titles` that the
    catalog lacks, and the high end with twice as many.
    """
    config, answer_bytes = known.config, expected_description_bytes(known.config)
    catalog = known.frame("catalog")
    lists = pl.DataFrame(schema={"title": pl.String, "year": pl.Int32})
    frames = {"catalog": catalog, "teacher_lists": lists}
    items = items_to_describe(StepContext(config, known.store, frames=frames))
    missing = list(missing_requests(distinct(requests_of(items, config)), known.store))

    def cost_of(requests: Iterable[Request]) -> CostEstimate:
        return estimate_cost(
            requests,
            config=config,
            store=known.store,
            stage="remap",
            output_kind=OUTPUT_KINDS["descriptions"],
            expected_bytes=lambda body: answer_bytes,
            batch=config.remap.describe_source == "batch",
        )

    lines = conversation_contexts(known).height * config.list_length
    titles = min(lines, round(TITLES_PER_ROOT_OF_LINES * math.sqrt(lines)))
    sample = requests_of(catalog.head(SAMPLE).with_columns(facts=pl.lit("")), config)
    low, added = cost_of(missing), cost_of(sample).times(titles / min(SAMPLE, catalog.height))
    total = replace(low + added, usd_low=low.usd_low, usd_high=low.usd_high + 2 * added.usd_high)
    return {**cost_row(len(missing) + titles, total), "assumed_titles": titles}


def embedding_cost(ctx: StepContext | None, known: StepContext) -> EmbeddingCost:
    """What embedding would cost; before the lists are known, from catalog and conversations."""
    frames = {role: known.frame(role) for role in ("catalog", "conversations")}
    return estimate_embedding_cost(ctx or StepContext(known.config, known.store, frames=frames))


def judge_cost_range(known: StepContext) -> dict[str, Any]:
    """The judge's cost before candidates are known: between the shortest and longest lines."""
    config, store = known.config, known.store
    items = known.frame("catalog", "title", "year").iter_rows()
    lines = sorted((config.llm_line_format.format(title, year) for title, year in items), key=len)
    if config.reflect.describe:
        lines = [f"{line}: {'x' * MAX_DESCRIPTION}" for line in lines]
    contexts = conversation_contexts(known)
    top, endpoint = config.reflect.top, endpoint_name(config)

    def cost_of(shown: list[str]) -> CostEstimate:
        requests = (
            Request(owner, endpoint, judge_body(conversation, shown, config))
            for texts in text_slices(known, contexts)
            for owner, conversation in texts.iter_rows()
        )
        return estimate_cost(
            requests,
            config=config,
            store=store,
            stage="reflect",
            expected_bytes=lambda body: expected_response_bytes(body, config.reflect.scale),
            worst_case=True,
            batch=config.reflect.source == "batch",
        ).times(config.reflect.passes)  # passes differ in order, not in length

    used_before = _has_responses(store, config.reflect.model, endpoint)
    low = 0.0 if used_before else cost_of(lines[:top]).usd_low
    high = cost_of(lines[-top:])
    low *= 1 - config.llm.max_failures
    return cost_row(
        contexts.height * config.reflect.passes,
        CostEstimate(low, high.usd_high, high.prompt_tokens, high.completion_tokens),
    )


def _typical_list_bytes(ctx: StepContext) -> float:
    """Bytes of a typical list: N lines as long as those of the titles in the conversations."""
    config = ctx.config
    titles = ctx.frame("conversations", "ground_truth", "seen")
    lines = [
        len(config.llm_line_format.format(item["title"], item["year"]))
        for row in titles.head(SAMPLE).iter_rows()
        for items in row
        for item in items or []
    ]
    mean = sum(lines) / len(lines) if lines else TYPICAL_LINE
    return config.list_length * (mean + 1)


def _has_responses(store: Store, model: str, endpoint: str) -> bool:
    with store.read_connection() as connection:
        count = connection.execute(
            "SELECT count(*) FROM llm_answers WHERE model = ? AND endpoint = ?",
            [model, endpoint],
        ).fetchone()
    return count != (0,)
