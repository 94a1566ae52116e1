"""The texts that similarity reads: of catalog items, of titles as written, of conversations.

A title that is linked to the catalog needs no text: it has the vector of its item. The paper embeds
"Title (Year), Keywords, Plot" written by the teacher for every item; here an item's text is what
the catalog has.
"""

from __future__ import annotations

from hashlib import sha256

import polars as pl

from convrec.stages.base import StepContext
from convrec.stages.remap.linked_titles import LinkedTitles

MAX_BYTES = 8191
"""UTF-8 bytes of a text that are embedded. A token has at least one byte, and models of the
embeddings API read 8,191 tokens."""


def item_texts(catalog: pl.DataFrame) -> list[str]:
    """The text of each catalog item: title, year, genres and other text."""
    return _joined_columns(catalog.with_columns(pl.col("genres").list.join(" ")), "genres", "text")


def title_texts(items: pl.DataFrame) -> list[str]:
    """The text of each listed title: title and year as written."""
    return _joined_columns(items)


def _joined_columns(frame: pl.DataFrame, *others: str) -> list[str]:
    joined = pl.concat_str("title", "year", *others, separator=" ", ignore_nulls=True)
    return frame.select(joined).to_series().to_list()


def text_key(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return sha256(text.encode()).hexdigest()


def truncate(text: str) -> str:
    """The stripped text, at most MAX_BYTES bytes of it."""
    return text.strip().encode()[:MAX_BYTES].decode(errors="ignore")


def collect_texts(
    ctx: StepContext, titles: LinkedTitles, conversations: pl.DataFrame
) -> pl.DataFrame:
    """Collect the distinct nonempty texts to embed: items, unlinked titles, conversations.

    `conversations` has context_id and conversation. The result has text_key, context_id (empty for
    texts of items and titles), text.
    """
    unlinked = titles.items.filter(pl.col("position") < 0)
    items = [*item_texts(ctx.frame("catalog")), *title_texts(unlinked)]
    texts = list(map(truncate, [*items, *conversations["conversation"]]))
    context_ids = [*[""] * len(items), *conversations["context_id"]]
    frame = pl.DataFrame(
        {"text_key": list(map(text_key, texts)), "context_id": context_ids, "text": texts},
        schema=dict.fromkeys(("text_key", "context_id", "text"), pl.String),
    )
    return frame.filter(pl.col("text") != "").unique("text_key", keep="first", maintain_order=True)
