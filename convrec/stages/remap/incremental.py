"""After a catalog edit: which contexts need new candidates; the others keep their earlier ones.

The candidates of a context can differ from an earlier artifact only if its list has a title that
is linked differently now, if an edited item was among its candidates, or if an edited item scores
at least as high as its last candidate. An edited item is one that was added or removed, has another
text, or moved relative to the others in the catalog's order, which breaks ties.

All of this is computed for the edited items alone. Contexts in doubt are rescored.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from convrec.artifacts import ArtifactRef, ArtifactSpec
from convrec.stages.base import StepContext
from convrec.stages.contexts import row_slices
from convrec.stages.remap.linked_titles import LINK_COLUMNS, LinkedTitles, link_to_catalog
from convrec.stages.remap.similarity import TfidfSimilarity
from convrec.stages.remap.texts import item_texts, read_descriptions, title_texts

MAX_EDITED_ITEMS = 200
"""With more edited items all contexts are rescored."""

SCORE_TOLERANCE = 1e-4
"""Upper bound of the difference between float32 sums in different orders."""

_LINK_COLUMNS = ("item_id", *LINK_COLUMNS)

_CONTEXTS_BY_TITLE = """
SELECT DISTINCT context_id FROM teacher_lists AS l
JOIN titles AS t ON l.title = t.title AND l.year IS NOT DISTINCT FROM t.year WHERE artifact_id = ?
"""

_CONTEXTS_BY_CANDIDATE = """
SELECT DISTINCT context_id FROM candidates SEMI JOIN edited USING (item_id) WHERE artifact_id = ?
"""

_SIMILARITY_SCORES = """
SELECT context_id, item, sum(score / sqrt(rank)) AS score FROM (
    SELECT context_id, number, min(rank) AS rank FROM teacher_lists AS l
    JOIN titles AS t ON l.title = t.title AND l.year IS NOT DISTINCT FROM t.year
    WHERE artifact_id = ? GROUP BY ALL
) JOIN near USING (number) GROUP BY ALL
"""


def find_earlier_candidates(
    ctx: StepContext, spec: ArtifactSpec, contexts: int
) -> ArtifactRef | None:
    """Find the newest complete artifact that differs from `spec` only in catalog and descriptions.

    None if there is none, or if all rows must be computed: on request (`ctx.rebuild`), with
    embeddings, whose products depend on the hardware, and if a catalog is smaller than
    `remap.keep`.
    """
    if ctx.frames or ctx.rebuild or ctx.config.remap.similarity != "tfidf":
        return None
    keep, parents = ctx.config.remap.keep, _other_parents(spec.parents)
    expected = (spec.version, dict(spec.config), dict(spec.inputs), parents)
    for header in reversed(ctx.store.headers("candidates")):
        parents = _other_parents(header.parents)
        if (header.version, header.config, header.inputs, parents) != expected:
            continue
        ref, catalog = header.ref, ctx.store.find(header.parents.get("catalog", ""))
        if ref.artifact_id == spec.artifact_id or ref.partial or catalog is None:
            continue
        counts = ctx.store.query(ref.artifact_id, 'count(*), coalesce(max("row"), 0) + 1', "")
        complete = counts.row(0) == (contexts * keep,) * 2  # no context was forgotten
        if complete and min(catalog.rows, ctx.parents["catalog"].rows) >= keep:
            return ref
    return None


def _other_parents(parents: Mapping[str, str]) -> dict[str, str]:
    """The parents without the artifacts that a catalog edit changes."""
    return {**parents, **{role: "" for role in ("catalog", "descriptions") if role in parents}}


def affected_contexts(
    ctx: StepContext, titles: LinkedTitles, earlier: ArtifactRef
) -> set[str] | None:
    """The contexts whose candidates may differ from those of `earlier`; None: too many edits.

    `titles` are linked to the present catalog.
    """
    new, described = ctx.frame("catalog"), read_descriptions(ctx)
    before = ctx.store.header(earlier.artifact_id).parents
    old = ctx.store.read(before["catalog"])
    described_before = None if described is None else ctx.store.read(before["descriptions"])
    edited = edited_items(old, new, (described_before, described))
    if len(edited) > MAX_EDITED_ITEMS:
        return None
    names = titles.items.select("title", "year")
    old_links = _link_columns(link_to_catalog(names, old, ctx.config), old)
    links = names.hstack(_link_columns(titles.items, new)).hstack(
        old_links.rename(lambda name: f"{name}_old")
    )
    links = links.with_columns(
        text=pl.Series(title_texts(names, described)),
        text_before=pl.Series(title_texts(names, described_before)),
    )
    relinked = [pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in _LINK_COLUMNS]
    relinked += [pl.col(name).is_in(list(edited)) for name in ("item_id", "item_id_old")]
    relinked.append(pl.col("text") != pl.col("text_before"))
    changed = links.filter(pl.any_horizontal(relinked)).select("title", "year")
    items = pl.DataFrame({"item_id": list(edited)}, schema={"item_id": pl.String})
    with ctx.store.read_connection() as connection:
        connection.register("titles", changed.to_arrow())
        lists = ctx.parents["teacher_lists"].artifact_id
        by_title = connection.execute(_CONTEXTS_BY_TITLE, [lists]).pl()
        connection.register("edited", items.to_arrow())
        by_candidate = connection.execute(_CONTEXTS_BY_CANDIDATE, [earlier.artifact_id]).pl()
    contexts = {*by_title["context_id"], *by_candidate["context_id"]}
    rows = new.with_row_index("row").filter(pl.col("item_id").is_in(list(edited)))["row"]
    if len(rows):
        contexts.update(_contexts_above_cutoff(ctx, titles, earlier, rows.to_numpy()))
    return contexts


def _contexts_above_cutoff(
    ctx: StepContext, titles: LinkedTitles, earlier: ArtifactRef, items: np.ndarray
) -> pl.Series:
    """The contexts in which one of `items` (catalog rows) scores as high as the last candidate.

    Without the identity term: a context with a title linked to an edited item is affected anyway.
    """
    settings = ctx.config.remap
    model = TfidfSimilarity(ctx, titles, pl.DataFrame({"conversation": []}))
    number, item, similarity = model.item_entries(items)
    near = pl.DataFrame({"number": number, "item": item, "score": similarity.astype(float)})
    numbered = titles.items.select("title", "year").with_row_index("number")
    with ctx.store.read_connection() as connection:
        chosen = numbered.filter(pl.col("number").is_in(near["number"].unique().to_list()))
        connection.register("titles", chosen.to_arrow())
        connection.register("near", near.to_arrow())
        lists = ctx.parents["teacher_lists"].artifact_id
        similar = connection.execute(_SIMILARITY_SCORES, [lists]).pl()
    parts = []
    for samples in row_slices(ctx, "conversations", "context_id", "conversation"):
        context, item, score = model.conversation_entries(items, samples["conversation"])
        entries = pl.DataFrame({"item": item, "score": score.astype(float)})
        parts.append(entries.select(samples["context_id"].gather(context), "item", "score"))
    conversation = pl.concat(parts)
    weights = settings.similarity_weight, settings.conversation_weight
    scores = [
        part.select("context_id", pl.col("item").cast(pl.Int32), pl.col("score") * weight)
        for part, weight in zip((similar, conversation.unique()), weights, strict=True)
    ]
    best = pl.concat(scores).group_by("context_id", "item").agg(pl.col("score").sum())
    best = best.group_by("context_id").agg(pl.col("score").max())
    last = ctx.store.query(
        earlier.artifact_id, "context_id, score AS last", f"AND rank = {settings.keep}"
    ).join(best, on="context_id", how="left")
    reached = pl.col("score").fill_null(0.0) >= pl.col("last") - SCORE_TOLERANCE
    return last.filter(reached)["context_id"]


def edited_items(
    old: pl.DataFrame,
    new: pl.DataFrame,
    described: tuple[pl.DataFrame | None, pl.DataFrame | None] = (None, None),
) -> set[str]:
    """The item_ids that were added or removed, have another text, or moved among the others.

    `described` are the descriptions before and after.
    """
    before, after = (
        dict(zip(catalog["item_id"], item_texts(catalog, descriptions), strict=True))
        for catalog, descriptions in zip((old, new), described, strict=True)
    )
    position = {item: number for number, item in enumerate(before)}
    same_text = [item for item, text in after.items() if before.get(item) == text]
    in_order = longest_increasing_subsequence([position[item] for item in same_text])
    return (before.keys() | after.keys()) - {same_text[at] for at in in_order}


def longest_increasing_subsequence(numbers: Sequence[int]) -> list[int]:
    """The positions of a longest increasing subsequence of distinct numbers, last one first."""
    smallest: list[int] = []  # the smallest last number of a subsequence of each length
    ends: list[int] = []
    previous: list[int] = []
    for at, number in enumerate(numbers):
        length = bisect_left(smallest, number)
        previous.append(ends[length - 1] if length else -1)
        smallest[length:] = [number, *smallest[length + 1 :]]
        ends[length:] = [at, *ends[length + 1 :]]
    chain = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(at)
        at = previous[at]
    return chain


def _link_columns(links: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """Replace the catalog row of each link by its item_id."""
    rows = links.select(pl.col("position").replace(-1, None)).to_series()
    return links.with_columns(item_id=catalog["item_id"].gather(rows)).select(_LINK_COLUMNS)
