"""The ablation: what each part of Remap–Reflect–Adjust adds to the teacher's raw lists.

    raw         the teacher's lines as written; only an exact title and year counts
    fuzzy       + linked titles: p·I
    similar     + similarity to the listed items: p·(S + I), by TF-IDF of titles and catalog texts
    talk        + similarity to the conversation: s_remap = p·(S + I) + λ·s_conv
    described   S and s_conv over descriptions instead
    embedded    embeddings instead of TF-IDF
    judged      + the judge's ratings: s_reflect = s_remap + γ·rating/L
    adjusted    + weight and bias by item: s_final = w ⊙ s_reflect + b

Every step of the ladder but `raw` is a list of unseen catalog items, built by the demonstrations
step from the scores so far. Each is scored on the test split, with its gain over the step before,
paired by sample. Steps that learn nothing are also scored on all splits together (`all`): more
samples, but slightly optimistic if λ or γ was chosen on some of them.

`described` exists with `remap.describe`, and `embedded` with a profile of embeddings, or where the
extra `st` and its model are at hand; `missing_steps` says why one is missing. With a profile of
TF-IDF, `embedded` is a branch: `judged` continues from the step before it.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import InputError
from convrec.pipeline.experiments.ablation.evaluation import ListEvaluator, ListTexts, build_lists
from convrec.pipeline.experiments.ablation.remap_variants import (
    candidates_over,
    embedded_candidates,
    embeds_all,
    is_plain,
    missing_descriptions,
    missing_embeddings,
    with_remap,
)
from convrec.stages.base import Step, StepContext
from convrec.stages.catalog_titles import alias_inputs, read_conversations
from convrec.stages.evaluate.metrics import score_settings
from convrec.stages.evaluate.samples import Sample, held_out_samples
from convrec.stages.evaluate.systems import teacher_texts
from convrec.stages.remap.embedding import vector_space

METRICS = ("ndcg@20", "recall@20", "ndcg@5", "recall@5", "in_catalog")
LEARNED_STEP = "adjusted"


def missing_steps(config: Config) -> dict[str, str]:
    """Step → why it is missing, in a few words."""
    reasons = {
        "described": missing_descriptions(config),
        "embedded": missing_embeddings(config),
    }
    return {step: reason for step, reason in reasons.items() if reason}


def ladder_lists(ctx: StepContext) -> dict[str, ListTexts]:
    """Build the lists of each step whose inputs exist, in order."""
    lists: dict[str, ListTexts] = {
        "raw": teacher_texts(ctx.frame("teacher_lists"), ctx.config.llm_line_format)
    }
    linked = ctx.frame("candidates_linked").filter(pl.col("identity") > 0)
    for step, rows in {"fuzzy": linked, **_remapped(ctx)}.items():
        lists[step] = build_lists(ctx, (), {"candidates": rows})
    if ctx.has("judgments"):
        lists["judged"] = build_lists(ctx, ("candidates", "judgments"), {})
    if ctx.has("adjustment"):
        lists[LEARNED_STEP] = build_lists(ctx, ("candidates", "judgments", "adjustment"), {})
    return lists


def _remapped(ctx: StepContext) -> dict[str, pl.DataFrame]:
    """Step → candidates, for the steps by s_remap; the profile's own are the last but a branch."""
    config, own = ctx.config, ctx.frame("candidates")
    if is_plain(config):
        steps = {"similar": ctx.frame("candidates_similar"), "talk": own}
    else:
        steps = {
            "similar": candidates_over(ctx, described=False, conversation_weight=0.0),
            "talk": candidates_over(ctx, described=False),
        }
    if config.remap.similarity != "tfidf":
        if not missing_descriptions(config):
            steps["described"] = candidates_over(ctx, described=True)
        return {**steps, "embedded": own}
    if not missing_descriptions(config):
        steps["described"] = own
    if not missing_embeddings(config):
        steps["embedded"] = embedded_candidates(ctx)
    return steps


def _build(ctx: StepContext) -> StepResult:
    conversations, lists = read_conversations(ctx), ladder_lists(ctx)
    test = held_out_samples(conversations)
    if not test:
        raise InputError(
            "the test split has no conversation with a ground truth, so there is nothing to "
            "compare on; check ingest.path"
        )
    splits = conversations["split"].unique(maintain_order=True)
    every = [sample for split in splits for sample in held_out_samples(conversations, split)]
    rows = _score_lists("test", test, lists, ctx)
    on_test_alone = {LEARNED_STEP} if embeds_all(ctx) else {LEARNED_STEP, "embedded"}
    unlearned = {step: texts for step, texts in lists.items() if step not in on_test_alone}
    rows += _score_lists("all", every, unlearned, ctx)
    columns = ("split", "step", "metric", "value", "low", "high", "gain", "gain_low", "gain_high")
    frame = pl.DataFrame(rows, schema=[*columns, "n"], orient="row", infer_schema_length=None)
    frame = frame.with_columns(pl.col("gain", "gain_low", "gain_high").cast(pl.Float64))
    return StepResult(frame, {f"{r[1]} {r[2]}": round(r[3], 4) for r in rows if r[0] == "test"})


def _score_lists(
    split: str, samples: list[Sample], lists: dict[str, ListTexts], ctx: StepContext
) -> list[Any]:
    """One row a step and metric: value, gain over the step before, and their intervals."""
    branch = "embedded" if ctx.config.remap.similarity == "tfidf" else ""
    evaluator, rows, previous = ListEvaluator(ctx, samples), [], None
    for step, texts in lists.items():
        values = evaluator.values(texts)
        intervals = evaluator.intervals(values, METRICS)
        gains: list[Any] = [(None, None, None)] * len(METRICS)
        if previous is not None:
            differences = {name: values[name] - previous[name] for name in METRICS}
            gains = list(evaluator.intervals(differences, METRICS))
        for metric, value, gain in zip(METRICS, intervals, gains, strict=True):
            rows.append((split, step, metric, *value, *gain, len(samples)))
        previous = previous if step == branch else values
    return rows


def _inputs(ctx: StepContext) -> dict[str, str]:
    """Aliases, and the model of the step `embedded` if the profile itself has no embeddings."""
    inputs = alias_inputs(ctx)
    if ctx.config.remap.similarity != "tfidf" or missing_embeddings(ctx.config):
        return inputs
    return inputs | {
        "embeddings": vector_space(with_remap(ctx.config, similarity="sentence-transformers"))
    }


ABLATION = Step(
    stage="evaluate",
    kind="ablation",
    version=2,
    build=_build,
    config=score_settings,
    inputs=_inputs,
)
