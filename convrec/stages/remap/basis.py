"""The similarity basis: TF-IDF vocabulary and IDF, an artifact of its own.

It is fitted on the catalog once and then stays pinned for a profile, so that a catalog edit moves
only the items that were edited; `--refresh remap` fits and pins a new one. A model that embeds was
fitted elsewhere: its basis is one row with its name, pinned under that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult, digest
from convrec.stages.base import Step, StepContext
from convrec.stages.remap.embedding import embeds, space_name
from convrec.stages.remap.texts import item_texts
from convrec.utils.tfidf import vectorizer

if TYPE_CHECKING:
    from convrec.config import Config


def _build(ctx: StepContext) -> StepResult:
    import polars as pl

    if embeds(ctx.config):
        name = space_name(ctx.config)
        return StepResult(
            pl.DataFrame({"term": [name], "column": [0], "idf": [1.0]}), {"model": name}
        )
    fitted = vectorizer()
    fitted.fit(item_texts(ctx.frame("catalog")))
    terms = fitted.get_feature_names_out().tolist()
    rows = pl.DataFrame({"term": terms, "column": range(len(terms)), "idf": fitted.idf_.tolist()})
    return StepResult(rows, {"terms": rows.height})


def _config(config: Config) -> dict[str, Any]:
    model = {"model": space_name(config)} if embeds(config) else {}
    return {"similarity": config.remap.similarity, **model}


def pin_name(config: Config) -> str:
    """Under which name the basis of this profile is pinned in the warehouse."""
    return f"similarity_basis/{config.profile}/{digest(_config(config))[:8]}"


SIMILARITY_BASIS = Step(
    stage="remap", kind="similarity_basis", version=1, build=_build, config=_config
)
