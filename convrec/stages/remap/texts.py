"""The texts that similarity reads: of catalog items, of titles as written, of conversations.

A title that is linked to the catalog needs no text: it has the vector of its item. The paper embeds
"Title (Year), Keywords, Plot" written by the teacher for every item, as `remap.describe=all` does.
An item without a description has the text that the catalog has.
"""

from __future__ import annotations

from hashlib import sha256

import polars as pl

from convrec.stages.base import StepContext
from convrec.stages.remap.linked_titles import LinkedTitles
from convrec.utils.both_ends import both_ends

MAX_BYTES = 8191
"""UTF-8 bytes of a text that are embedded. A token has at least one byte, and models of the
embeddings API read 8,191 tokens."""

OMISSION = " ... "
"""Between the two ends of a text that is too long."""


def item_texts(catalog: pl.DataFrame, descriptions: pl.DataFrame | None = None) -> list[str]:
    """The text of each catalog item: title, year, genres, and its description or other text."""
    items = catalog.with_columns(pl.col("genres").list.join(" "))
    if descriptions is not None:
        texts = descriptions.select("item_id", described=_DESCRIPTION).drop_nulls("item_id")
        items = items.join(texts, on="item_id", how="left", maintain_order="left")
        items = items.with_columns(text=pl.coalesce("described", "text"))
    return _joined_columns(items, *_NAME, "genres", "text")


def title_texts(
    items: pl.DataFrame, descriptions: pl.DataFrame | None = None, *, years: bool = True
) -> list[str]:
    """The text of each listed title: title and year as written, and its description if any."""
    columns = list(_NAME) if years else ["title"]
    if descriptions is not None:
        texts = descriptions.filter(pl.col("item_id").is_null())
        texts = texts.select(*_NAME, described=_DESCRIPTION)
        items = items.join(texts, on=_NAME, how="left", nulls_equal=True, maintain_order="left")
        columns.append("described")
    return _joined_columns(items, *columns)


def description_texts(descriptions: pl.DataFrame) -> list[str]:
    """Each description as one text: keywords, then the plot."""
    return descriptions.select(_DESCRIPTION).to_series().to_list()


def read_descriptions(ctx: StepContext) -> pl.DataFrame | None:
    """The descriptions artifact; None with `remap.describe=off`."""
    return ctx.frame("descriptions") if ctx.has("descriptions") else None


_NAME = ("title", "year")
_DESCRIPTION = pl.concat_str(pl.col("keywords").list.join(", "), "plot", separator=". ")


def _joined_columns(frame: pl.DataFrame, *columns: str) -> list[str]:
    joined = pl.concat_str(*columns, separator=" ", ignore_nulls=True)
    return frame.select(joined).to_series().to_list()


def text_key(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return sha256(text.encode()).hexdigest()


def truncate(text: str) -> str:
    """The stripped text, or both ends of it if it has more than MAX_BYTES bytes."""
    text = text.strip()
    encoded = text.encode()
    if len(encoded) <= MAX_BYTES:
        return text
    end = (MAX_BYTES - len(OMISSION)) // 2
    ends = both_ends(encoded, MAX_BYTES - len(OMISSION) - end, end)
    return OMISSION.join(part.decode(errors="ignore") for part in ends)


def collect_texts(
    ctx: StepContext, titles: LinkedTitles, conversations: pl.DataFrame
) -> pl.DataFrame:
    """Collect the distinct nonempty texts to embed: items, unlinked titles, conversations.

    `conversations` has context_id and conversation. The result has text_key, context_id (empty for
    texts of items and titles), text.
    """
    unlinked, described = titles.items.filter(pl.col("position") < 0), read_descriptions(ctx)
    items = [*item_texts(ctx.frame("catalog"), described), *title_texts(unlinked, described)]
    texts = list(map(truncate, [*items, *conversations["conversation"]]))
    context_ids = [*[""] * len(items), *conversations["context_id"]]
    frame = pl.DataFrame(
        {"text_key": list(map(text_key, texts)), "context_id": context_ids, "text": texts},
        schema=dict.fromkeys(("text_key", "context_id", "text"), pl.String),
    )
    return frame.filter(pl.col("text") != "").unique("text_key", keep="first", maintain_order=True)
