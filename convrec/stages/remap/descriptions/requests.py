"""Which items are described, and the request for each: the item alone, never a conversation.

A request depends on the title, the year and the facts, so a catalog edit asks about new and renamed
items only, and a title that many lists name is asked about once.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from convrec.config import Config
from convrec.llm.endpoint import endpoint_name
from convrec.llm.model_settings import chat_limits, model_settings
from convrec.llm.prices import token_rates
from convrec.llm.requests import LazyRequests, Request
from convrec.stages.base import StepContext
from convrec.stages.remap.descriptions.facts import MAX_CHARACTERS, find_facts
from convrec.stages.remap.linked_titles import link_teacher_titles
from convrec.titles.line_format import format_line
from convrec.titles.normalize import exact_key


def describing_model(config: Config) -> str:
    """The model that describes."""
    return config.remap.describe_model or config.recommend.model


def expected_description_bytes(config: Config) -> float:
    """Bytes of a typical answer of the model that describes."""
    return float(token_rates(describing_model(config))["description"])


def items_to_describe(ctx: StepContext) -> pl.DataFrame:
    """What gets a description: item_id (null outside the catalog), title, year, facts.

    Catalog items come first. Of an item with text in the catalog, that text is the first fact.
    """
    items = ctx.frame("catalog", "item_id", "title", "year", "genres", "text")
    if ctx.config.remap.describe == "missing":
        items = items.filter(pl.col("text") == "")
    own = pl.concat_str(pl.col("genres").list.join(", "), "text", separator="; ")
    items = items.select("item_id", "title", "year", facts=own.str.strip_chars("; "))
    named = link_teacher_titles(ctx).items.filter(pl.col("position") < 0)
    titles = named.select("title", "year", item_id=pl.lit(None, dtype=pl.String), facts=pl.lit(""))
    described = pl.concat([items, titles.select(items.columns)])
    found = find_facts(ctx.config, described.select("title", "year").rows())
    if found is not None:
        both = pl.concat_str("facts", pl.Series("found", found), separator="; ")
        both = both.str.strip_chars("; ")
        described = described.with_columns(facts=both)
    described = described.with_columns(pl.col("facts").str.slice(0, MAX_CHARACTERS))
    if ctx.config.remap.describe == "facts":
        described = described.filter(pl.col("facts") != "")
    return described


def description_requests(ctx: StepContext) -> LazyRequests:
    """The request of each row of `items_to_describe`, in order; none with `remap.describe=facts`.

    Spellings of one title share a request.
    """
    if ctx.config.remap.describe == "facts":
        return LazyRequests(lambda: iter(()), 0)
    items = items_to_describe(ctx)
    return LazyRequests(lambda: requests_of(items, ctx.config), items.height)


def requests_of(items: pl.DataFrame, config: Config) -> Iterator[Request]:
    """The request of each of `items`, as `items_to_describe` gives them."""
    settings, model = config.remap, describing_model(config)
    limits = chat_limits(
        config, model, "remap.describe_max_tokens", settings.describe_max_tokens, 0.0
    )
    extra, endpoint = model_settings(config, model).extra, endpoint_name(config)
    spelling: dict[tuple[str, int | None], str] = {}
    for title, year, facts in items.select("title", "year", "facts").iter_rows():
        written = spelling.setdefault((exact_key(title), year), title)
        line = format_line(written, year)
        body = {"model": model, **limits, "messages": _messages(line, facts, config), **extra}
        yield Request(line, endpoint, body)


def _messages(line: str, facts: str, config: Config) -> list[dict[str, str]]:
    domain = config.domain
    system = domain.describe.format(noun=domain.noun, plural=domain.plural_noun)
    user = f"<title>\n{line}\n</title>"
    if facts:
        user += f"\n<facts>\n{facts.replace('<', '(').replace('>', ')')}\n</facts>"
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]
