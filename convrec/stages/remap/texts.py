"""What similarity reads: one text an item of the catalog, a title a teacher wrote, a conversation.

A teacher's item that is in the catalog needs no text of its own: it has the catalog item's vector.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from convrec.stages.base import StepContext
    from convrec.stages.remap.linked_titles import LinkedTitles

MOST_BYTES = 8191
"""UTF-8 bytes of a text that are read: no token is shorter than one, and models of the embeddings
API read 8,191 tokens."""


def item_texts(catalog: pl.DataFrame) -> list[str]:
    """What similarity sees of each catalog item: title, year, genres and other text."""
    import polars as pl

    joined = pl.concat_str(
        "title",
        pl.col("year").cast(pl.String),
        pl.col("genres").list.join(" "),
        "text",
        separator=" ",
        ignore_nulls=True,
    )
    return catalog.select(joined).to_series().to_list()


def written_texts(items: pl.DataFrame) -> list[str]:
    """What an embedding sees of titles as teachers wrote them: title and year."""
    import polars as pl

    year = pl.col("year").cast(pl.String)
    joined = pl.concat_str("title", year, separator=" ", ignore_nulls=True)
    return items.select(joined).to_series().to_list()


def text_key(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return sha256(text.encode()).hexdigest()


def cut(text: str) -> str:
    """The text without surrounding space, of at most MOST_BYTES bytes."""
    return text.strip().encode()[:MOST_BYTES].decode(errors="ignore")


def needed_texts(
    ctx: StepContext, found: LinkedTitles, conversations: pl.DataFrame
) -> pl.DataFrame:
    """The distinct texts to be embedded: text_key, context_id, text; items first, empty ones never.

    `conversations` has columns context_id and conversation. The text of an item has no context.
    """
    import polars as pl

    outside = found.items.filter(pl.col("position") < 0)
    items = [*item_texts(ctx.frame("catalog")), *written_texts(outside)]
    texts = list(map(cut, [*items, *conversations["conversation"]]))
    owners = [*[""] * len(items), *conversations["context_id"]]
    frame = pl.DataFrame(
        {"text_key": list(map(text_key, texts)), "context_id": owners, "text": texts},
        schema={"text_key": pl.String, "context_id": pl.String, "text": pl.String},
    )
    return frame.filter(pl.col("text") != "").unique("text_key", keep="first", maintain_order=True)
