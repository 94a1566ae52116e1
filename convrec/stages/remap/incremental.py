"""After a catalog edit: the candidates that it cannot have changed stand in an earlier artifact.

A context's candidates are others only where its teacher named a title that is linked otherwise
now, where an edited item was kept, or where one scores as high as the last that was kept. An item
is edited where it is new or gone, reads differently, or stands elsewhere in the order, which breaks
ties. All of it is found in columns, for the edited items alone; whoever is in doubt is scored anew.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from convrec.stages.partitions import slices
from convrec.stages.remap.embedding import embeds
from convrec.stages.remap.linked_titles import links
from convrec.stages.remap.similarity import TfidfSimilarity
from convrec.stages.remap.texts import item_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl

    from convrec.artifacts import ArtifactRef, ArtifactSpec
    from convrec.stages.base import StepContext
    from convrec.stages.remap.linked_titles import LinkedTitles

FEW = 200
"""Items that may be edited; with more of them everything is scored anew."""

NEAR = 1e-4
"""By how much a score that is added up in another order is off at most; scores are float32."""

_LINK = ("item_id", "linked_from", "link_method", "link_score", "runner_up", "runner_up_score")

_NAMING = """
SELECT DISTINCT context_id FROM teacher_lists AS l
JOIN titles AS t ON l.title = t.title AND l.year IS NOT DISTINCT FROM t.year WHERE artifact_id = ?
"""

_KEEPING = """
SELECT DISTINCT context_id FROM candidates SEMI JOIN edited USING (item_id) WHERE artifact_id = ?
"""

_SIMILAR = """
SELECT context_id, item, sum(score / sqrt(rank)) AS score FROM (
    SELECT context_id, number, min(rank) AS rank FROM teacher_lists AS l
    JOIN titles AS t ON l.title = t.title AND l.year IS NOT DISTINCT FROM t.year
    WHERE artifact_id = ? GROUP BY ALL
) JOIN near USING (number) GROUP BY ALL
"""


def earlier_candidates(ctx: StepContext, spec: ArtifactSpec, contexts: int) -> ArtifactRef | None:
    """The newest candidates that differ from `spec` in the catalog alone, and are all there.

    None, too, where rows have to be computed anew: on request, for vectors of a model, whose
    products hang on what they are computed with, or where a catalog is smaller than a list.
    """
    if ctx.frames or ctx.afresh or embeds(ctx.config):
        return None
    keep, parents = ctx.config.remap.keep, {**spec.parents, "catalog": ""}
    wanted = (spec.version, dict(spec.config), dict(spec.inputs), parents)
    for header in reversed(ctx.store.headers("candidates")):
        parents = {**header.parents, "catalog": ""}
        if (header.version, header.config, header.inputs, parents) != wanted:
            continue
        ref, catalog = header.ref, ctx.store.find(header.parents.get("catalog", ""))
        if ref.artifact_id == spec.artifact_id or ref.partial or catalog is None:
            continue
        last = ctx.store.select(ref.artifact_id, 'count(*), coalesce(max("row"), 0) + 1', "")
        whole = last.row(0) == (contexts * keep,) * 2  # and nothing was forgotten
        if whole and min(catalog.rows, ctx.parents["catalog"].rows) >= keep:
            return ref
    return None


def reached(ctx: StepContext, found: LinkedTitles, before: ArtifactRef) -> set[str] | None:
    """The contexts whose candidates may differ from those of `before`; None: too much was edited.

    `found` is what the titles mean in the catalog of now.
    """
    import polars as pl

    new = ctx.frame("catalog")
    old = ctx.store.read(ctx.store.header(before.artifact_id).parents["catalog"])
    edited = edited_items(old, new)
    if len(edited) > FEW:
        return None
    titles = found.items.select("title", "year")
    was = _links(links(titles, old), old).rename(lambda name: f"{name}_old")
    both = titles.hstack(_links(found.items, new)).hstack(was)
    linked = [pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in _LINK]
    linked += [pl.col(name).is_in(list(edited)) for name in ("item_id", "item_id_old")]
    changed = both.filter(pl.any_horizontal(linked)).select("title", "year")
    kept = pl.DataFrame({"item_id": list(edited)}, schema={"item_id": pl.String})
    with ctx.store.read_connection() as connection:
        connection.register("titles", changed.to_arrow())
        naming = connection.execute(_NAMING, [ctx.parents["teacher_lists"].artifact_id]).pl()
        connection.register("edited", kept.to_arrow())
        keeping = connection.execute(_KEEPING, [before.artifact_id]).pl()
    contexts = {*naming["context_id"], *keeping["context_id"]}
    at = new.with_row_index("at").filter(pl.col("item_id").is_in(list(edited)))["at"]
    return contexts.union(_reaching(ctx, found, before, at.to_numpy()) if len(at) else ())


def _reaching(
    ctx: StepContext, found: LinkedTitles, before: ArtifactRef, items: np.ndarray
) -> pl.Series:
    """The contexts in which one of these rows of the catalog scores as high as the last one kept.

    Titles that are linked to one of them do not count here.
    """
    import polars as pl

    settings = ctx.config.remap
    space = TfidfSimilarity(ctx, found, pl.DataFrame({"conversation": []}))
    number, item, likeness = space.near(items)
    near = pl.DataFrame({"number": number, "item": item, "score": likeness.astype(float)})
    titles = found.items.select("title", "year").with_row_index("number")
    with ctx.store.read_connection() as connection:
        some = titles.filter(pl.col("number").is_in(near["number"].unique().to_list()))
        connection.register("titles", some.to_arrow())
        connection.register("near", near.to_arrow())
        lists = ctx.parents["teacher_lists"].artifact_id
        similar = connection.execute(_SIMILAR, [lists]).pl()
    talk = pl.concat(
        _talking(space, samples, items)
        for samples in slices(ctx, "conversations", "context_id", "conversation")
    )
    scores = [
        part.select("context_id", pl.col("item").cast(pl.Int32), pl.col("score") * weight)
        for part, weight in (
            (similar, settings.similarity_weight),
            (talk.unique(), settings.conversation_weight),
        )
    ]
    best = pl.concat(scores).group_by("context_id", "item").agg(pl.col("score").sum())
    best = best.group_by("context_id").agg(pl.col("score").max())
    kept = ctx.store.select(
        before.artifact_id, "context_id, score AS last", f"AND rank = {settings.keep}"
    ).join(best, on="context_id", how="left")
    return kept.filter(pl.col("score").fill_null(0.0) >= pl.col("last") - NEAR)["context_id"]


def _talking(space: TfidfSimilarity, samples: pl.DataFrame, items: np.ndarray) -> pl.DataFrame:
    """Columns context_id, item and score: s_conv of samples to these rows of the catalog."""
    import polars as pl

    context, item, score = space.talk_about(items, samples["conversation"])
    found = pl.DataFrame({"item": item, "score": score.astype(float)})
    return found.select(samples["context_id"].gather(context), "item", "score")


def edited_items(old: pl.DataFrame, new: pl.DataFrame) -> set[str]:
    """The item_ids that are new or gone, read differently, or stand elsewhere among the others."""
    was, now = (dict(zip(c["item_id"], item_texts(c), strict=True)) for c in (old, new))
    place = {item: number for number, item in enumerate(was)}
    same = [item for item, text in now.items() if was.get(item) == text]
    kept = {same[at] for at in rising([place[item] for item in same])}
    return (was.keys() | now.keys()) - kept


def rising(numbers: Sequence[int]) -> list[int]:
    """Where the numbers of a longest rising sequence stand; no number comes twice."""
    least: list[int] = []  # the least number that a sequence of each length ends with
    ends: list[int] = []
    before: list[int] = []
    for at, number in enumerate(numbers):
        length = bisect_left(least, number)
        before.append(ends[length - 1] if length else -1)
        least[length:] = [number, *least[length + 1 :]]
        ends[length:] = [at, *ends[length + 1 :]]
    chain = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(at)
        at = before[at]
    return chain


def _links(linked: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """Links with the item that they lead to, in place of its row."""
    import polars as pl

    rows = linked.select(pl.col("position").replace(-1, None)).to_series()
    return linked.with_columns(item_id=catalog["item_id"].gather(rows)).select(_LINK)
