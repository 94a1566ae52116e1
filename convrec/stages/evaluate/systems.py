"""The lists of each system for the test split, as text, so that all are scored in the same way.

teacher     the teacher's list as written: its titles and years, nothing linked to the catalog
remapped    the N best candidates; seen items are removed before the cut
reflected   the same, ordered by the score after the judge's ratings
adjusted    the demonstrations that the student is trained on
base        the student before any training, zero-shot
sft, rank_grpo   sampled lists of the two checkpoints, by `evaluate.sampler`
checkpoint  an external checkpoint (`convrec evaluate --checkpoint`)
free        the final checkpoint alone: sampled up to its own end, nothing enforced
served      the final checkpoint as `convrec recommend` uses it: what a user gets
popularity  what training answers name most often, seen items removed
knn         what answered the most similar training posts, seen items removed
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import polars as pl

from convrec.metrics.relevance import TitleAndYear, match_lines
from convrec.stages.adjust.ordered_candidates import read_ordered_candidates
from convrec.stages.adjust.top_n import NO_ITEM, top_items
from convrec.stages.base import StepContext
from convrec.stages.contexts import rows_by_id
from convrec.stages.evaluate.baselines import Baselines, knn, popularity
from convrec.stages.evaluate.samples import Sample, SampleList, lists_by_context
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import LineFormat

MODELS = ("base", "sft", "rank_grpo", "checkpoint", "free", "served")
BASELINES = ("popularity", "knn")
SYSTEMS = ("teacher", "remapped", "reflected", "adjusted", *MODELS, *BASELINES)


def system_lists(
    ctx: StepContext, samples: list[Sample], index: TitleIndex, baselines: Baselines | None
) -> dict[str, list[SampleList]]:
    """Return the lists of every system whose artifact is a parent of the step, as in SYSTEMS.

    Samples for which a system has no list (for example, the teacher failed on the context) are left
    out.
    """
    contexts = pl.Series([sample.context_id for sample in samples], dtype=pl.String)
    lists = {}
    if "teacher_lists" in ctx.parents:
        rows = rows_by_id(ctx, "teacher_lists", contexts, "rank", "title", "year")
        texts = teacher_texts(rows, ctx.config.llm_line_format)
        lists["teacher"] = lists_by_context(texts, samples)
    if "candidates" in ctx.parents:
        rows = rows_by_id(ctx, "candidates", contexts, "item_id", "rank")
        lists["remapped"] = _remapped_lists(ctx, rows, samples, index)
    if "judgments" in ctx.parents:
        lists["reflected"] = _reflected_lists(ctx, samples)
    if "demonstrations" in ctx.parents:
        rows = rows_by_id(ctx, "demonstrations", contexts, "split", "sample_id", "completion")
        lists["adjusted"] = _adjusted_lists(rows, samples)
    for model in MODELS:
        if f"generations_{model}" in ctx.parents:
            lists[model] = generated_lists(ctx.frame(f"generations_{model}"), samples)
    if baselines is not None:
        (training, k), n, form = baselines, ctx.config.list_length, _catalog_format(ctx)
        lists["popularity"] = _format_lists(popularity(training, samples, n), form)
        lists["knn"] = _format_lists(knn(training, samples, n, k), form)
    return lists


def _catalog_format(ctx: StepContext) -> LineFormat:
    """How items of the catalog are written in the lists of all systems but the teacher."""
    return ctx.config.line_format.for_titles(ctx.frame("catalog")["title"])


def _format_lists(
    lists: Sequence[Sequence[TitleAndYear]], line_format: LineFormat
) -> list[SampleList]:
    return [
        SampleList(index, "\n".join(line_format.format(*item) for item in items))
        for index, items in enumerate(lists)
    ]


def teacher_texts(teacher_lists: pl.DataFrame, line_format: LineFormat) -> dict[str, str]:
    """Return context → the teacher's list as written."""
    lines: dict[str, list[str]] = defaultdict(list)
    ordered = teacher_lists.sort("context_id", "rank")
    for context, title, year in ordered.select("context_id", "title", "year").iter_rows():
        lines[context].append(line_format.format(title, year))
    return {context: "\n".join(of_context) for context, of_context in lines.items()}


def _remapped_lists(
    ctx: StepContext, candidates: pl.DataFrame, samples: list[Sample], index: TitleIndex
) -> list[SampleList]:
    items = ctx.frame("catalog").select("item_id", "title", "year").iter_rows()
    line_format = _catalog_format(ctx)
    line_of = {item_id: line_format.format(title, year) for item_id, title, year in items}
    rows = candidates.sort("context_id", "rank")
    lines: dict[str, list[str]] = defaultdict(list)
    for context, item_id in rows.select("context_id", "item_id").iter_rows():
        lines[context].append(line_of[item_id])
    lists = []
    for position, sample in enumerate(samples):
        if sample.context_id in lines:
            ranked = lines[sample.context_id]
            matched = match_lines(ranked, index, sample.seen, [], line_format)
            unseen = [line for line, match in zip(ranked, matched, strict=True) if not match.seen]
            lists.append(SampleList(position, "\n".join(unseen[: ctx.config.list_length])))
    return lists


def _reflected_lists(ctx: StepContext, samples: list[Sample]) -> list[SampleList]:
    candidates = read_ordered_candidates(ctx, {"test"}).read_all()
    items = list(ctx.frame("catalog").select("title", "year").iter_rows())
    best = top_items(candidates, ctx.config.list_length).tolist()
    form = _catalog_format(ctx)
    texts = {
        context: "\n".join(form.format(*items[row]) for row in rows if row != NO_ITEM)
        for context, rows in zip(candidates.contexts["context_id"], best, strict=True)
    }
    return lists_by_context(texts, samples)


def _adjusted_lists(demonstrations: pl.DataFrame, samples: list[Sample]) -> list[SampleList]:
    """A demonstration is for a context, or for one sample if the data came with its own lists."""
    test = demonstrations.filter(demonstrations["split"] == "test")
    rows = test.select("context_id", "sample_id", "completion").iter_rows()
    texts = {(context, sample): text for context, sample, text in rows}
    chosen = [
        texts.get((sample.context_id, sample.sample_id), texts.get((sample.context_id, None)))
        for sample in samples
    ]
    return [SampleList(index, text) for index, text in enumerate(chosen) if text is not None]


def generated_lists(generations: pl.DataFrame, samples: list[Sample]) -> list[SampleList]:
    """Return the generated lists of these samples; one for each draw."""
    index_of = {sample.sample_id: index for index, sample in enumerate(samples)}
    return [
        SampleList(index_of[sample], text)
        for sample, text in generations.select("sample_id", "completion").iter_rows()
        if sample in index_of
    ]
