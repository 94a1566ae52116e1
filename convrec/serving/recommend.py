"""Recommend for one text: a list without repeats from the catalog of a checkpoint.

The default catalog is the version that the checkpoint was trained with. Titles named in the text
count as seen. A model trained from nothing knows only the words of its training data, so words of
the text that are not in it are listed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.lineage import checkpoint_catalog, checkpoint_conversations
from convrec.catalog.load import load_configured_catalog
from convrec.catalog.selection import find_catalog_file
from convrec.catalog.versions import parse_catalog_name
from convrec.errors import InputError
from convrec.models.manifest import serving_config
from convrec.models.prompts import served_prompt

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True)
class Recommendation:
    """A list, and how its text was understood.

    Attributes:
        items: Different lines of the catalog, best first.
        seen: Lines of the items that the text names, in the order of the catalog.
        unknown_words: Words of the text that no training conversation has, in the order of the
            text; always empty for a model that was not trained from nothing (`model.base=tiny`).
    """

    items: list[str]
    seen: list[str]
    unknown_words: list[str]


def recommend(
    store: Store,
    checkpoint: str,
    text: str,
    *,
    catalog: str | Path | None = None,
    n: int | None = None,
) -> Recommendation:
    """`n` different lines for a text, best first, all in the catalog and not named in the text.

    `catalog` is a catalog file to use instead of the checkpoint's own, or a published one such as
    `catalog:films@2`; `n` defaults to the trained list length. Raises InputError for an unknown
    checkpoint, one whose prompts have no common form, or an unusable or too small catalog.
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
        frame = load_configured_catalog(_catalog_file(catalog), config)[0]
    else:
        frame = checkpoint_catalog(store, checkpoint)
    items = frame.select("item_id", "title", "year").rows()
    served = ServedCatalog(items, config.line_format)
    n = n or config.list_length
    named = served.named(text)
    left = len(served.lines) - len(named)
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
    return Recommendation(
        items=lists[0],
        seen=[line for line in served.lines if line in named],
        unknown_words=_words_never_trained(store, checkpoint, text, config.model.base),
    )


def _catalog_file(catalog: str | Path) -> Path:
    """The file of a catalog that is given as a path or by name."""
    name = parse_catalog_name(str(catalog))
    file = find_catalog_file(name) if name else Path(catalog)
    if file is None:
        raise InputError(
            f"there is no catalog {catalog}; `convrec catalog publish FILE` publishes one, and "
            "--catalog also takes a file"
        )
    return file


def unknown_words(text: str, conversations: pl.DataFrame) -> list[str]:
    """The words of a text that no conversation of the training split has, in their order.

    `conversations` has the columns split and conversation. Case makes no difference.
    """
    training = conversations.filter(pl.col("split") == "train")["conversation"].unique()
    known = {word.casefold() for post in training for word in _WORD.findall(post)}
    return [word for word in dict.fromkeys(_WORD.findall(text)) if word.casefold() not in known]


def _words_never_trained(store: Store, checkpoint: str, text: str, base: str) -> list[str]:
    """The unknown words of a text, for a model that was trained from nothing."""
    if base != "tiny":
        return []
    conversations = checkpoint_conversations(store, checkpoint, "split", "conversation")
    return [] if conversations is None else unknown_words(text, conversations)
