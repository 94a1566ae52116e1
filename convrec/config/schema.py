"""The configuration as a whole, and the checks that involve several sections."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, ValidationError, field_validator, model_validator

from convrec.config.base import Section
from convrec.config.domain import Domain
from convrec.config.sections import (
    Adjust,
    Evaluate,
    Ingest,
    Llm,
    Model,
    RankGrpo,
    Recommend,
    Reflect,
    Remap,
    Runner,
    Sft,
    SourceSection,
    Train,
)
from convrec.errors import ConfigError
from convrec.titles.line_format import NAMESAKES, LineFormat, line_format


class Config(Section):
    """All settings of a run."""

    later_keys: ClassVar = frozenset({"sources"})
    runtime_keys: ClassVar = frozenset({"train", "runner"})

    profile: str = Field("", description="Name of the profile; by default its file name.")
    description: str = Field("", description="One sentence about the profile, for reports.")
    seed: int = Field(7, ge=0, lt=2**32, description="Seed of everything random.")
    domain: Domain = Domain()
    list_length: int = Field(20, gt=0, description="Items in a recommended list [N].")
    ingest: Ingest = Ingest()
    recommend: Recommend = Recommend()
    remap: Remap = Remap()
    reflect: Reflect = Reflect()
    adjust: Adjust = Adjust()
    model: Model = Model()
    sft: Sft = Sft()
    rank_grpo: RankGrpo = RankGrpo()
    train: Train = Train()
    runner: Runner = Runner()
    evaluate: Evaluate = Evaluate()
    llm: Llm = Llm()
    sources: dict[str, dict[SourceSection, dict[str, Any]]] = Field(
        {}, description="Additional SFT data: by name, the settings that differ from the profile."
    )

    @property
    def line_format(self) -> LineFormat:
        """How the student's lists are written, from `domain` and `recommend.years`."""
        return line_format(
            self.domain.line if self.recommend.years else "",
            self.domain.line_without_year,
            only_namesakes=self.recommend.years == NAMESAKES,
        )

    @property
    def llm_line_format(self) -> LineFormat:
        """How teacher and judge write and read items: `line_format`, with all years or none."""
        return line_format(
            self.domain.line if self.recommend.years else "", self.domain.line_without_year
        )

    @field_validator("domain", mode="before")
    @classmethod
    def _expand_noun(cls, value: Any) -> Any:
        return {"noun": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_consistency(self) -> Config:
        if self.recommend.source == "replay" and not self.recommend.replay:
            raise ValueError("recommend.source=replay needs recommend.replay, a Batch output file")
        if self.recommend.source == "provided" and self.adjust.ground_truth_first:
            raise ValueError(
                "adjust.ground_truth_first changes the lists of a teacher, but with "
                "recommend.source=provided the lists in the data are taken as they are; set one of "
                "them differently"
            )
        if self.reflect.enabled and self.reflect.top < self.list_length:
            raise ValueError(
                f"reflect.top={self.reflect.top} must be at least list_length={self.list_length}"
            )
        if self.reflect.describe and self.remap.describe == "off":
            raise ValueError(
                "reflect.describe=true shows the judge descriptions, but remap.describe=off makes "
                "none; set remap.describe to all, missing or facts"
            )
        if self.remap.keep < max(self.list_length, self.reflect.top):
            raise ValueError(
                f"remap.keep={self.remap.keep} must be at least list_length and reflect.top"
            )
        for name in self.sources:
            source_config(self, name)
        return self


def source_config(config: Config, name: str) -> Config:
    """The configuration that builds the demonstrations of one of `config.sources`.

    Raises ConfigError for an invalid setting, or if the lists of the source would have another line
    format than the profile's.
    """
    values = config.model_dump(exclude={"sources"})
    for section, changed in config.sources[name].items():
        values[section] = {**values[section], **changed}
    try:
        resolved = type(config).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("sources", name, *map(str, first["loc"])))
        raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    if resolved.line_format is not config.line_format:
        raise ConfigError(
            f"sources.{name}.recommend.years differs from the profile's recommend.years, which "
            "would teach the student two line formats; use the same value"
        )
    return resolved
