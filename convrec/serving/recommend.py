"""Recommend for one text: a list without repeats from the catalog of a checkpoint.

The default catalog is the version that the checkpoint was trained with. Titles named in the text
count as seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from convrec.artifacts import Store
from convrec.artifacts.lineage import checkpoint_catalog
from convrec.catalog.load import load_configured_catalog
from convrec.config import Config
from convrec.errors import InputError
from convrec.models.prompts import student_prompt
from convrec.titles.index import YEAR_TOLERANCE
from convrec.titles.normalize import exact_key, normalize_characters


def named_items(text: str, items: Iterable[tuple[str, str, int | None]]) -> set[str]:
    """Ids of the items (item_id, title, year) whose title occurs in the text as whole words.

    Of overlapping titles, the longest wins. A year right after a title selects among remakes.
    Titles of one word must have the catalog's capitalization, so "it" and "up" stay words.
    """
    by_key: dict[str, list[tuple[str, str, int | None]]] = {}
    for item_id, title, item_year in items:
        entry = (item_id, normalize_characters(title), item_year)
        by_key.setdefault(exact_key(title), []).append(entry)
    spellings = {title for entries in by_key.values() for _, title, _ in entries}
    titles = "|".join(re.escape(title) for title in sorted(spellings, key=len, reverse=True))
    pattern = rf"(?<!\w)({titles})(?!\w)(?:\s*\((\d{{4}})\))?"
    named = set()
    for match in re.finditer(pattern, normalize_characters(text), re.IGNORECASE):
        written, year = match[1], match[2]
        for item_id, title, item_year in by_key.get(exact_key(written), ()):
            if year is None:
                is_named = " " in title or written == title
            else:
                is_named = item_year is None or abs(item_year - int(year)) <= YEAR_TOLERANCE
            if is_named:
                named.add(item_id)
    return named


def recommend_list(
    store: Store, checkpoint: str, text: str, *, catalog: Path | None = None, n: int | None = None
) -> list[str]:
    """`n` different lines for a text, best first, all in the catalog and not named in the text.

    `catalog` is a catalog file to use instead of the checkpoint's own; `n` defaults to the trained
    list length. Raises InputError for an unknown checkpoint, or an unusable or too small catalog.
    """
    from convrec.models.generation.catalog_constraint import recommend_constrained
    from convrec.models.load import load_checkpoint

    kind = store.header(checkpoint).ref.kind
    if kind != "checkpoint":
        raise InputError(
            f"{checkpoint} is a {kind}, not a checkpoint; "
            "`convrec artifacts list --kind checkpoint` shows the checkpoints"
        )
    manifest = json.loads(store.read(checkpoint)["manifest"][0])
    config = Config.model_validate(manifest["serving"])
    if catalog:
        frame = load_configured_catalog(catalog, config)[0]
    else:
        frame = checkpoint_catalog(store, checkpoint)
    items = frame.select("item_id", "title", "year").rows()
    named = named_items(text, items)
    write = config.line_format.format
    lines = list(dict.fromkeys(write(title, year) for i, title, year in items if i not in named))
    n = n or config.list_length
    if len(lines) < n:
        raise InputError(
            f"the list needs {n} items that the text does not name, but the catalog has "
            f"{len(lines)}; give a larger --catalog or a smaller --n"
        )
    prompt = student_prompt(text, text, config)
    student = load_checkpoint(store.fetch_folder(checkpoint))
    return recommend_constrained(student, prompt, lines, n, config)
