"""`convrec recommend`: a list for one text, from a checkpoint, from its catalog, without repeats.

Serves from the catalog version that the checkpoint was trained with unless told otherwise. Titles
that the text names count as seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convrec.catalog.index import YEAR_TOLERANCE
from convrec.catalog.titles import exact_key, plain_signs
from convrec.errors import InputError
from convrec.output import JsonFile, takes_stdout, write_json

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store


def named_items(text: str, items: Iterable[tuple[str, str, int | None]]) -> set[str]:
    """Ids of the (item_id, title, year) whose title stands in the text as whole words.

    The longest title wins where several overlap; a year right behind it picks among remakes. A
    title of one word counts only where it is written with the catalog's capitals, so that "it" and
    "up" stay words.
    """
    by_key: dict[str, list[tuple[str, str, int | None]]] = {}
    for item_id, title, own in items:
        by_key.setdefault(exact_key(title), []).append((item_id, plain_signs(title), own))
    spellings = {title for same in by_key.values() for _, title, _ in same}
    titles = "|".join(re.escape(title) for title in sorted(spellings, key=len, reverse=True))
    named = set()
    for found in re.finditer(
        rf"(?<!\w)({titles})(?!\w)(?:\s*\((\d{{4}})\))?", plain_signs(text), re.IGNORECASE
    ):
        written, year = found[1], found[2]
        for item_id, title, own in by_key.get(exact_key(written), ()):
            word = " " not in title
            if word and year is None and written != title:
                continue
            if year is None or own is None or abs(own - int(year)) <= YEAR_TOLERANCE:
                named.add(item_id)
    return named


def catalog_of(store: Store, checkpoint: str) -> pl.DataFrame:
    """The catalog that a checkpoint was trained with. Raises InputError where it is gone."""
    from convrec.artifacts.lineage import ancestors

    for header in ancestors(store, checkpoint):
        if header.ref.kind == "catalog":
            return store.read(header.ref.artifact_id)
    raise InputError(f"{checkpoint} has no catalog in its lineage; give one with --catalog FILE")


def recommend_list(
    store: Store, checkpoint: str, text: str, *, catalog: Path | None = None, n: int | None = None
) -> list[str]:
    """N lines in the trained form for a text: in the catalog, unseen, none twice, best first.

    Raises InputError for an unknown checkpoint, an unusable catalog or one that is too small.
    """
    from convrec.catalog.load import load_catalog
    from convrec.config import Config
    from convrec.decoding import recommend_constrained
    from convrec.sft.prompts import student_prompt

    header = store.header(checkpoint)
    if header.ref.kind != "checkpoint":
        raise InputError(
            f"{checkpoint} is a {header.ref.kind}, not a checkpoint; "
            "`convrec artifacts list --kind checkpoint` shows those"
        )
    config = Config.model_validate(trained_settings(store, checkpoint))
    if catalog:
        frame = load_catalog(catalog, config.ingest.names, years=config.recommend.years)[0]
    else:
        frame = catalog_of(store, checkpoint)
    items = frame.select("item_id", "title", "year").rows()
    seen = named_items(text, items)
    write = config.line_format.format
    lines = list(dict.fromkeys(write(t, y) for i, t, y in items if i not in seen))
    wanted = n or config.list_length
    if len(lines) < wanted:
        raise InputError(
            f"the catalog has {len(lines)} items that the text does not name, and {wanted} are "
            "asked for; give a larger --catalog or a smaller --n"
        )
    prompt = student_prompt(text, text, config)
    listed: list[str] = recommend_constrained(
        store.fetched(checkpoint), prompt, lines, wanted, config
    )
    return listed


def trained_settings(store: Store, checkpoint: str) -> dict[str, Any]:
    """The configuration keys that a checkpoint must be asked with, as it was trained."""
    import json

    manifest = json.loads(store.read(checkpoint)["manifest"][0])
    settings: dict[str, Any] = manifest["serving"]
    return settings


def recommend(
    text: Annotated[str, typer.Argument(help="What somebody asks for, in their words.")],
    checkpoint: Annotated[str, typer.Option(help="Artifact id of a checkpoint.")],
    catalog: Annotated[
        Path | None, typer.Option(help="Another catalog than the checkpoint was trained with.")
    ] = None,
    n: Annotated[int | None, typer.Option(min=1, help="Items; default: as trained.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Recommend from a checkpoint: N lines, all in the catalog, none twice, none named in TEXT."""
    from convrec.artifacts import Store
    from convrec.config import home

    if not text.strip():
        raise InputError("the text is empty; write what somebody asks for")
    lines = recommend_list(Store(home()), checkpoint, text, catalog=catalog, n=n)
    if json_file is not None:
        write_json({"checkpoint": checkpoint, "items": lines}, json_file)
    if not takes_stdout(json_file):
        for rank, line in enumerate(lines, start=1):
            typer.echo(f"{rank}. {line}")
