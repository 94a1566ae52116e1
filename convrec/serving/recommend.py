"""`convrec recommend`: a list for one text, from a checkpoint, from its catalog, without repeats.

Serves from the catalog version that the checkpoint was trained with unless told otherwise. Titles
that the text names count as seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts.lineage import catalog_of
from convrec.errors import InputError
from convrec.titles.index import YEAR_TOLERANCE
from convrec.titles.normalize import exact_key, plain_signs

if TYPE_CHECKING:
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


def recommend_list(
    store: Store, checkpoint: str, text: str, *, catalog: Path | None = None, n: int | None = None
) -> list[str]:
    """N lines in the trained form for a text: in the catalog, unseen, none twice, best first.

    Raises InputError for an unknown checkpoint, an unusable catalog or one that is too small.
    """
    from convrec.catalog.load import load_catalog
    from convrec.config import Config
    from convrec.models.generation.catalog_constrained import recommend_constrained
    from convrec.models.prompts import student_prompt

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
