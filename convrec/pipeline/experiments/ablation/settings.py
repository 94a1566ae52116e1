"""The final lists at other settings of Remap and Reflect, from the ratings that exist.

Every setting goes through the whole method: candidates, ratings, and an adjustment fitted on part
of the training split, so that no list of validation or test is used to fit it.
"""

from __future__ import annotations

from contextlib import closing
from typing import Literal, NamedTuple

import polars as pl

from convrec.pipeline.experiments.ablation.evaluation import ListTexts, build_lists
from convrec.pipeline.experiments.ablation.remap_variants import with_remap
from convrec.stages.adjust import ADJUSTMENT
from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES

FIT_CONTEXTS = 1000
"""Training contexts, evenly spaced, on which the adjustment of a setting is fitted."""

HeldOut = Literal["validation", "test"]

_SCORES = ("context_id", "rank", "item_id", "score")


class Setting(NamedTuple):
    """One point of the grid; ties prefer the smaller tuple."""

    similarity_weight: float
    conversation_weight: float
    weight: float
    top: int
    length: int


class SettingLists:
    """Lists by setting; candidates, fits and lists are computed once for each."""

    def __init__(self, ctx: StepContext) -> None:
        self._ctx = ctx
        config, conversations = ctx.config, ctx.frame("conversations")
        self.configured = Setting(
            config.remap.similarity_weight,
            config.remap.conversation_weight,
            config.reflect.weight if ctx.has("judgments") else 0.0,
            config.reflect.top,
            config.list_length,
        )
        self._conversations: dict[HeldOut, pl.DataFrame] = {
            "validation": _fitting_conversations(conversations),
            "test": conversations.filter(pl.col("split") == "test"),
        }
        self._candidates: dict[tuple[HeldOut, float, float], pl.DataFrame] = {}
        self._adjustments: dict[Setting, pl.DataFrame] = {}
        self._texts: dict[tuple[HeldOut, Setting], ListTexts] = {}

    def texts(self, setting: Setting, split: HeldOut = "validation") -> ListTexts:
        """The lists of a split; those of `length` lines are the beginning of the whole ones."""
        full = setting._replace(length=self.configured.length)
        if (split, full) not in self._texts:
            frames = self._frames(full, split)
            if self._ctx.config.adjust.enabled:
                frames["adjustment"] = self._adjustment(full)
            self._texts[split, full] = build_lists(self._ctx, (), frames)
        return {
            context: "\n".join(text.split("\n")[: setting.length])
            for context, text in self._texts[split, full].items()
        }

    def _adjustment(self, setting: Setting) -> pl.DataFrame:
        if setting not in self._adjustments:
            frames = {**self._ctx.frames, **self._frames(setting, "validation")}
            if not setting.weight:
                frames.pop("judgments", None)
            catalog = {r: ref for r, ref in self._ctx.parents.items() if r == "catalog"}
            ctx = StepContext(self._ctx.config, self._ctx.store, catalog, frames=frames)
            self._adjustments[setting] = ADJUSTMENT.build(ctx).rows
        return self._adjustments[setting]

    def _frames(self, setting: Setting, split: HeldOut) -> dict[str, pl.DataFrame]:
        """Conversations, candidates, and the ratings if they count."""
        candidates = self._candidates_of(setting, split)
        frames = {"candidates": candidates, "conversations": self._conversations[split]}
        if setting.weight and self._ctx.has("judgments"):
            frames["judgments"] = self._judgments(setting, candidates)
        return frames

    def _candidates_of(self, setting: Setting, split: HeldOut) -> pl.DataFrame:
        key = split, setting.similarity_weight, setting.conversation_weight
        if key not in self._candidates:
            weights = dict(zip(Setting._fields[:2], setting[:2], strict=True))
            conversations = self._conversations[split]
            lists = self._ctx.frame("teacher_lists").join(
                conversations, on="context_id", how="semi", maintain_order="left"
            )
            frames = {"conversations": conversations, "teacher_lists": lists}
            ctx = StepContext(
                with_remap(self._ctx.config, **weights),
                self._ctx.store,
                self._ctx.parents,
                frames={**self._ctx.frames, **frames},
            )
            with closing(CANDIDATES.build(ctx)) as result:
                self._candidates[key] = result.rows.select(_SCORES)
        return self._candidates[key]

    def _judgments(self, setting: Setting, candidates: pl.DataFrame) -> pl.DataFrame:
        """The existing ratings of the first N_r candidates, at another γ."""
        unit = setting.weight / self._ctx.config.reflect.scale
        first = candidates.filter(pl.col("rank") <= setting.top)
        ratings = self._ctx.frame("judgments").select("context_id", "item_id", "rating")
        return (
            first.select("context_id", "item_id", remapped="score")
            .join(ratings, on=["context_id", "item_id"], how="inner", maintain_order="left")
            .select(
                "context_id",
                "item_id",
                "rating",
                score=pl.col("remapped") + unit * pl.col("rating").fill_null(0.0),
            )
        )


def _fitting_conversations(conversations: pl.DataFrame) -> pl.DataFrame:
    """The validation split, and the samples of at most FIT_CONTEXTS training contexts."""
    train = conversations.filter(pl.col("split") == "train")
    contexts = train.select("context_id").unique(maintain_order=True)
    step = -(-contexts.height // FIT_CONTEXTS) or 1
    chosen = contexts.gather_every(step)
    part = train.join(chosen, on="context_id", how="semi", maintain_order="left")
    return pl.concat([part, conversations.filter(pl.col("split") == "validation")])
