"""The ablation: what each part of Remap–Reflect–Adjust adds to the teacher's raw lists.

    raw         the teacher's lines as written; only an exact title and year counts
    fuzzy       + linked titles: p·I
    similar     + items like those that were named: p·(S + I)
    talk        + what the conversation is like: p·(S + I) + λ·s_conv, which is s_remap
    judged      + the judge's ratings: s_reflect
    adjusted    + weight and bias by item: s_final

Every rung but the first is a list of unseen catalog items, made by the demonstrations step itself
from what the rung has. Each is measured on the test split beside its gain over the rung before it,
paired on the same samples. The rungs that learn nothing stand for all splits too, as `all`: more
samples, and slightly flattered where λ or γ was chosen on a part of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.pipeline.experiments.ablation.evaluation import ListEvaluator, Texts, demonstrations
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.samples import Sample, held_out
from convrec.stages.evaluate.systems import teacher_texts

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config

METRICS = ("ndcg@20", "recall@20", "ndcg@5", "recall@5", "in_catalog")
LEARNED = "adjusted"


def rungs(ctx: StepContext) -> dict[str, Texts]:
    """The lists of each rung that this run has, in order."""
    import polars as pl

    lists: dict[str, Texts] = {
        "raw": teacher_texts(ctx.frame("teacher_lists"), ctx.config.line_format)
    }
    linked = ctx.frame("candidates_linked").filter(pl.col("identity") > 0)
    for step, rows in (
        ("fuzzy", linked),
        ("similar", ctx.frame("candidates_similar")),
        ("talk", ctx.frame("candidates")),
    ):
        lists[step] = demonstrations(ctx, (), {"candidates": rows})
    if ctx.has("judgments"):
        lists["judged"] = demonstrations(ctx, ("candidates", "judgments"), {})
    if ctx.has("adjustment"):
        lists[LEARNED] = demonstrations(ctx, ("candidates", "judgments", "adjustment"), {})
    return lists


def _build(ctx: StepContext) -> StepResult:
    import polars as pl

    conversations, lists = ctx.frame("conversations"), rungs(ctx)
    test = held_out(conversations)
    if not test:
        raise InputError(
            "the test split has no conversation with a ground truth, so there is nothing to "
            "compare on; look at ingest.path"
        )
    every = [
        sample for split in _splits(conversations) for sample in held_out(conversations, split)
    ]
    rows = _climb("test", test, lists, ctx)
    unlearned = {step: texts for step, texts in lists.items() if step != LEARNED}
    rows += _climb("all", every, unlearned, ctx)
    columns = ("split", "step", "metric", "value", "low", "high", "gain", "gain_low", "gain_high")
    frame = pl.DataFrame(rows, schema=[*columns, "n"], orient="row", infer_schema_length=None)
    frame = frame.with_columns(pl.col("gain", "gain_low", "gain_high").cast(pl.Float64))
    return StepResult(frame, {f"{r[1]} {r[2]}": round(r[3], 4) for r in rows if r[0] == "test"})


def _climb(
    split: str, samples: list[Sample], lists: dict[str, Texts], ctx: StepContext
) -> list[Any]:
    """A row a rung and metric: value, gain over the rung before, and their intervals."""
    jury, rows, before = ListEvaluator(ctx, samples), [], None
    for step, texts in lists.items():
        values = jury.values(texts)
        found = jury.intervals(values, METRICS)
        gains: list[Any] = [(None, None, None)] * len(METRICS)
        if before is not None:
            gained = {name: values[name] - before[name] for name in METRICS}
            gains = list(jury.intervals(gained, METRICS))
        for metric, value, gain in zip(METRICS, found, gains, strict=True):
            rows.append((split, step, metric, *value, *gain, len(samples)))
        before = values
    return rows


def _splits(conversations: pl.DataFrame) -> list[str]:
    return conversations["split"].unique(maintain_order=True).to_list()


def _config(config: Config) -> dict[str, Any]:
    return {
        "list_length": config.list_length,
        "bootstrap": config.evaluate.bootstrap,
        "seed": config.seed,
        **config.line_format.key,
    }


ABLATION = Step(stage="evaluate", kind="ablation", version=1, build=_build, config=_config)
