"""Four films as catalog rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

Film = tuple[str, int, list[str]]

FILMS: list[Film] = [
    ("Alien", 1979, ["Horror", "Sci-Fi"]),
    ("Aliens", 1986, ["Action", "Sci-Fi"]),
    ("Heat", 1995, ["Crime"]),
    ("Notting Hill", 1999, ["Comedy", "Romance"]),
]


def film_catalog(films: Sequence[Film] = FILMS) -> pl.DataFrame:
    """Catalog rows of films (title, year, genres)."""
    return pl.DataFrame(
        {
            "item_id": [f"{title} ({year})" for title, year, _ in films],
            "title": [title for title, _, _ in films],
            "year": [year for _, year, _ in films],
            "aliases": [[] for _ in films],
            "genres": [genres for _, _, genres in films],
            "text": [""] * len(films),
        },
        schema_overrides={
            "year": pl.Int32,
            "aliases": pl.List(pl.String),
            "genres": pl.List(pl.String),
        },
    )
