"""The sections of a configuration, their keys, and what is allowed in them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

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
    Section,
    Sft,
    SourceSection,
    Train,
)
from convrec.errors import ConfigError
from convrec.titles.line_format import LineFormat, line_format


class Config(Section):
    """Everything a run is asked to do."""

    profile: str = ""
    description: str = ""
    seed: int = Field(7, ge=0, lt=2**32)
    domain: Domain = Domain()
    list_length: int = Field(20, gt=0, description="N: items in a recommended list.")
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
        {}, description="Other data that SFT learns from: by name, the settings that differ."
    )

    @property
    def line_format(self) -> LineFormat:
        """How the items of a list are written."""
        return line_format(
            self.domain.line if self.recommend.years else "", self.domain.line_without_year
        )

    @field_validator("domain", mode="before")
    @classmethod
    def _noun_alone(cls, value: Any) -> Any:
        return {"noun": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sources_agree(self) -> Config:
        if self.recommend.source == "replay" and not self.recommend.replay:
            raise ValueError("recommend.source=replay needs recommend.replay, a Batch output file")
        if self.reflect.enabled and self.reflect.top < self.list_length:
            raise ValueError(
                f"reflect.top={self.reflect.top} must be at least list_length={self.list_length}"
            )
        if self.remap.keep < max(self.list_length, self.reflect.top):
            raise ValueError(
                f"remap.keep={self.remap.keep} must be at least list_length and reflect.top"
            )
        for name in self.sources:
            source_config(self, name)
        return self


def source_config(config: Config, name: str) -> Config:
    """The configuration that makes the demonstrations of a source.

    Raises ConfigError where a setting cannot be used, or where the source would write its lists in
    another form than the profile's.
    """
    from pydantic import ValidationError

    values = config.model_dump(exclude={"sources"})
    for section, changed in config.sources[name].items():
        values[section] = {**values[section], **changed}
    try:
        made = type(config).model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("sources", name, *map(str, first["loc"])))
        raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    if made.line_format is not config.line_format:
        raise ConfigError(
            f"sources.{name}.recommend.years differs from the profile's recommend.years, so that "
            "the student would learn two kinds of line; set both alike"
        )
    return made
