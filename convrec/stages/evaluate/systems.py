"""The lists that each system makes for the test split, as text, so that all are judged alike.

teacher     the teacher's list as it wrote it: its titles and years, one a line, nothing linked
remapped    the N best candidates that the conversation has not named; seen ones go before the cut
reflected   the same, by the score that the judge's ratings have moved
adjusted    the demonstrations: what the student is shown
base        the student before any training, asked in the same words: zero-shot
sft, rank_grpo   sampled, unconstrained lists of the two checkpoints
checkpoint  one that was trained elsewhere, or by another run (`convrec evaluate --checkpoint`)
popularity  what training answers name most often, seen items removed
knn         what answered the training posts most like the conversation
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from convrec.metrics.relevance import Titled, match_lines
from convrec.stages.evaluate.samples import Sample, SampleList, by_context, held_out

if TYPE_CHECKING:
    import polars as pl

    from convrec.stages.base import StepContext
    from convrec.titles.index import TitleIndex
    from convrec.titles.line_format import LineFormat

MODELS = ("base", "sft", "rank_grpo", "checkpoint")
BASELINES = ("popularity", "knn")
SYSTEMS = ("teacher", "remapped", "reflected", "adjusted", *MODELS, *BASELINES)


def system_lists(
    ctx: StepContext, samples: list[Sample], index: TitleIndex, neighbours: int | None = None
) -> dict[str, list[SampleList]]:
    """Every system whose artifact is among the job's parents, in the order of SYSTEMS.

    `neighbours` is the k of kNN; without it, it is chosen on validation. A sample without a list
    (the teacher failed on its context) has none here either.
    """
    lists = {}
    if "teacher_lists" in ctx.parents:
        lists["teacher"] = by_context(
            teacher_texts(ctx.frame("teacher_lists"), ctx.config.line_format), samples
        )
    if "candidates" in ctx.parents:
        lists["remapped"] = _remapped(ctx, samples, index)
    if "judgments" in ctx.parents:
        lists["reflected"] = _reflected(ctx, samples)
    if "demonstrations" in ctx.parents:
        lists["adjusted"] = _adjusted(ctx.frame("demonstrations"), samples)
    for model in MODELS:
        if f"generations_{model}" in ctx.parents:
            lists[model] = generated(ctx.frame(f"generations_{model}"), samples)
    return {**lists, **baseline_lists(ctx, samples, neighbours)}


def baseline_lists(
    ctx: StepContext, samples: list[Sample], neighbours: int | None = None
) -> dict[str, list[SampleList]]:
    """The lists of popularity and kNN; nothing where the training split has no ground truth."""
    from convrec.stages.evaluate.baselines import choose_k, knn, popularity, read_training

    conversations, n = ctx.frame("conversations"), ctx.config.list_length
    training = read_training(conversations, ctx.frame("catalog"))
    if training is None:
        return {}
    k = neighbours or choose_k(training, held_out(conversations, "validation"))
    form = ctx.config.line_format
    return {
        name: written(lists, form)
        for name, lists in (
            ("popularity", popularity(training, samples, n)),
            ("knn", knn(training, samples, n, k)),
        )
    }


def written(lists: Sequence[Sequence[Titled]], form: LineFormat) -> list[SampleList]:
    """Lists of items, one a sample, as text."""
    return [
        SampleList(position, "\n".join(form.format(*item) for item in items))
        for position, items in enumerate(lists)
    ]


def teacher_texts(rows: pl.DataFrame, form: LineFormat) -> dict[str, str]:
    """Context → the teacher's list as it wrote it, from the rows of teacher lists."""
    lines: dict[str, list[str]] = defaultdict(list)
    for context, title, year in (
        rows.sort("context_id", "rank").select("context_id", "title", "year").iter_rows()
    ):
        lines[context].append(form.format(title, year))
    return {context: "\n".join(written) for context, written in lines.items()}


def _remapped(ctx: StepContext, samples: list[Sample], index: TitleIndex) -> list[SampleList]:
    import polars as pl

    items = ctx.frame("catalog").select("item_id", "title", "year").iter_rows()
    form = ctx.config.line_format
    line_of = {item_id: form.format(title, year) for item_id, title, year in items}
    wanted = pl.DataFrame(
        {"context_id": [s.context_id for s in samples]}, {"context_id": pl.String}
    )
    rows = ctx.frame("candidates", "context_id", "item_id", "rank")
    rows = rows.join(wanted, on="context_id", how="semi").sort("context_id", "rank")
    lines: dict[str, list[str]] = defaultdict(list)
    for context, item_id in rows.select("context_id", "item_id").iter_rows():
        lines[context].append(line_of[item_id])
    lists = []
    for position, sample in enumerate(samples):
        if sample.context_id in lines:
            ranked = lines[sample.context_id]
            judged = match_lines(ranked, index, sample.seen, [], form)
            unseen = [line for line, at in zip(ranked, judged, strict=True) if not at.seen]
            lists.append(SampleList(position, "\n".join(unseen[: ctx.config.list_length])))
    return lists


def _reflected(ctx: StepContext, samples: list[Sample]) -> list[SampleList]:
    from convrec.stages.adjust.ordered_candidates import read_ordered_candidates
    from convrec.stages.adjust.top_n import NONE, top_items

    candidates = read_ordered_candidates(ctx, {"test"}).whole()
    items = list(ctx.frame("catalog").select("title", "year").iter_rows())
    best = top_items(candidates, ctx.config.list_length).tolist()
    texts = {
        context: "\n".join(
            ctx.config.line_format.format(*items[row]) for row in rows if row != NONE
        )
        for context, rows in zip(candidates.contexts["context_id"], best, strict=True)
    }
    return by_context(texts, samples)


def _adjusted(rows: pl.DataFrame, samples: list[Sample]) -> list[SampleList]:
    """Demonstrations are one a context, or one a sample where the data brought its own."""
    test = rows.filter(rows["split"] == "test")
    of_sample: dict[tuple[str, str | None], str] = {
        (context, sample): text
        for context, sample, text in test.select(
            "context_id", "sample_id", "completion"
        ).iter_rows()
    }
    lists = []
    for position, sample in enumerate(samples):
        for key in ((sample.context_id, sample.sample_id), (sample.context_id, None)):
            if key in of_sample:
                lists.append(SampleList(position, of_sample[key]))
                break
    return lists


def generated(rows: pl.DataFrame, samples: list[Sample]) -> list[SampleList]:
    """The lists of these samples, from the rows of generations; several where there are draws."""
    position_of = {sample.sample_id: position for position, sample in enumerate(samples)}
    return [
        SampleList(position_of[sample], text)
        for sample, text in rows.select("sample_id", "completion").iter_rows()
        if sample in position_of
    ]
