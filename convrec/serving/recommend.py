"""Recommend for one text: a list without repeats from the catalog of a checkpoint.

The default catalog is the version that the checkpoint was trained with. Titles named in the text
count as seen. A model trained from nothing knows only the words of its training data, so words of
the text that are not in it are listed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.lineage import checkpoint_conversations
from convrec.errors import InputError
from convrec.models.manifest import serving_config
from convrec.models.prompts import served_prompt
from convrec.serving.catalogs import load_named_catalog

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

    check_checkpoint(store, checkpoint)
    config = serving_config(store.read(checkpoint)["manifest"][0])
    found = load_named_catalog(store, checkpoint, str(catalog or ""), config)
    served = ServedCatalog(found.items.rows(), config.line_format)
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
    known = known_words(store, checkpoint, config.model.base)
    return Recommendation(
        items=lists[0],
        seen=[line for line in served.lines if line in named],
        unknown_words=[] if known is None else words_not_in(text, known),
    )


def check_checkpoint(store: Store, artifact_id: str) -> None:
    """Raise InputError if an artifact is not a checkpoint."""
    kind = store.header(artifact_id).ref.kind
    if kind != "checkpoint":
        raise InputError(
            f"{artifact_id} is a {kind}, not a checkpoint; "
            "`convrec artifacts list --kind checkpoint` shows the checkpoints"
        )


def unknown_words(text: str, conversations: pl.DataFrame) -> list[str]:
    """The words of a text that no conversation of the training split has, in their order.

    `conversations` has the columns split and conversation. Case makes no difference.
    """
    return words_not_in(text, training_words(conversations))


def training_words(conversations: pl.DataFrame) -> frozenset[str]:
    """The words of all conversations of the training split, without case."""
    training = conversations.filter(pl.col("split") == "train")["conversation"].unique()
    return frozenset(word.casefold() for post in training for word in _WORD.findall(post))


def words_not_in(text: str, known: Collection[str]) -> list[str]:
    """The words of a text that are not among those of `training_words`, in their order."""
    return [word for word in dict.fromkeys(_WORD.findall(text)) if word.casefold() not in known]


def known_words(store: Store, checkpoint: str, base: str) -> frozenset[str] | None:
    """The words that a model trained from nothing has seen; None for a model that knows others."""
    if base != "tiny":
        return None
    conversations = checkpoint_conversations(store, checkpoint, "split", "conversation")
    return None if conversations is None else training_words(conversations)
