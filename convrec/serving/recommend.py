"""Recommend for one text: a list without repeats from the catalog of a checkpoint.

The default catalog is the version that the checkpoint was trained with. Titles named in the text
count as seen.
"""

from __future__ import annotations

from pathlib import Path

from convrec.artifacts import Store
from convrec.artifacts.lineage import checkpoint_catalog
from convrec.catalog.load import load_configured_catalog
from convrec.errors import InputError
from convrec.models.manifest import serving_config
from convrec.models.prompts import served_prompt


def recommend_list(
    store: Store, checkpoint: str, text: str, *, catalog: Path | None = None, n: int | None = None
) -> list[str]:
    """`n` different lines for a text, best first, all in the catalog and not named in the text.

    `catalog` is a catalog file to use instead of the checkpoint's own; `n` defaults to the trained
    list length. Raises InputError for an unknown checkpoint, one whose prompts have no common form,
    or an unusable or too small catalog.
    """
    from convrec.models.generation.recommend import ServedCatalog, recommend_texts
    from convrec.models.load import load_checkpoint

    kind = store.header(checkpoint).ref.kind
    if kind != "checkpoint":
        raise InputError(
            f"{checkpoint} is a {kind}, not a checkpoint; "
            "`convrec artifacts list --kind checkpoint` shows the checkpoints"
        )
    config = serving_config(store.read(checkpoint)["manifest"][0])
    if catalog:
        frame = load_configured_catalog(catalog, config)[0]
    else:
        frame = checkpoint_catalog(store, checkpoint)
    items = frame.select("item_id", "title", "year").rows()
    served = ServedCatalog(items, config.line_format)
    n = n or config.list_length
    left = len(served.lines) - len(served.named(text))
    lists: list[list[str]] = []
    served_prompt(text, config)  # refuses a checkpoint before its weights are read
    if left >= n:
        student = load_checkpoint(store.fetch_folder(checkpoint))
        lists = recommend_texts(student, served, [text], config, n=n)
    if not any(lists):
        raise InputError(
            f"the list needs {n} items that the text does not name, but the catalog has "
            f"{left}; give a larger --catalog or a smaller --n"
        )
    return lists[0]
