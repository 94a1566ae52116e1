"""The sections of the data stages: ingest, recommend, remap, reflect and adjust."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from convrec.config.base import Section
from convrec.config.choices import FACT_SOURCES, INPUT_FORMATS, SIMILARITIES

ConversationColumn = Literal["conversation", "ground_truth", "seen", "list", "id", "date", "split"]
"""What a column of conversations may hold, in the format `table`."""

SourceSection = Literal["ingest", "recommend", "remap", "reflect", "adjust"]


def _check_pattern(value: str) -> str:
    """The value, if it is empty or a regular expression with one group. Raises ValueError."""
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    if value and groups != 1:
        raise ValueError(f"must have one group, in brackets: the dialogue; it has {groups}")
    return value


def _check_folds(value: int) -> int:
    """The value, unless it is 1. Raises ValueError."""
    if value == 1:
        raise ValueError("must be 0 (no folds) or at least 2: one fold leaves nothing to fit on")
    return value


class Ingest(Section):
    """The input: conversations and the catalog."""

    later_keys: ClassVar = frozenset(
        {
            "catalog_from",
            "catalog_min_count",
            "columns",
            "year_in_title",
            "dialogue",
            "conversation_columns",
            "separator",
            "validation_from",
            "test_from",
        }
    )

    format: Annotated[str, AfterValidator(INPUT_FORMATS.check)] = Field(
        "reddit-v2",
        description="Format of the conversations; `table` has columns that you name, `demo` "
        "generates them.",
    )
    path: str = Field(
        "",
        description="File or folder with the conversations, or `hub:owner/name@REVISION` for a "
        "data set on the Hugging Face Hub.",
    )
    catalog: str = Field(
        "",
        description="CSV or Parquet catalog. `catalog:NAME` is the newest published version of "
        "NAME, `catalog:NAME@3` is version 3, `hub:owner/name/FILE` a file on the Hugging Face "
        "Hub. Empty: the catalog next to the conversations.",
    )
    catalog_from: Literal["file", "ground_truth"] = Field(
        "file",
        description="`file` takes all items of `catalog`; `ground_truth` takes the items that the "
        "training ground truth names, and from `catalog`, if set, only what it says about them.",
    )
    catalog_min_count: int = Field(
        1,
        gt=0,
        description="How often the training ground truth must name an item, for `ground_truth` "
        "only.",
    )
    columns: dict[Literal["title", "year", "item_id", "aliases", "genres"], str] = Field(
        default={},
        description="Column names in the catalog file, where they differ from convrec's.",
    )
    year_in_title: bool = Field(
        False,
        description="Titles of the catalog file are written as MovieLens lists them, "
        "`Matrix, The (1999)`: the year is split off, the article moves to the front, and other "
        "names in brackets become aliases. The year column is then optional.",
    )
    conversation_columns: dict[ConversationColumn, str] = Field(
        default={},
        description="Column names of the conversations, for format `table`; a column that is not "
        "named here has the name of its role. Only `conversation` and `ground_truth` are needed.",
    )
    separator: str = Field(
        ";", min_length=1, description="Between the titles of a cell, for format `table`."
    )
    validation_from: date | None = Field(
        None,
        description="First day of the validation split, for format `table` with a column of dates. "
        "Empty: a hash decides.",
    )
    test_from: date | None = Field(
        None, description="First day of the test split, for format `table`."
    )
    world: Literal["films", "books"] = Field(
        "films", description="Subject of the posts of format `demo`."
    )
    dialogue: Annotated[str, AfterValidator(_check_pattern)] = Field(
        "",
        description="Regular expression whose group, matched against `sample_id`, names the "
        "dialogue of a turn. Empty: as the format says, or each context is a dialogue.",
    )
    limit: int = Field(
        0, ge=0, description="Use only the first N contexts of each split; 0 uses all."
    )
    contexts: dict[Literal["train", "validation", "test"], Annotated[int, Field(gt=0)]] = Field(
        default={"train": 2000, "validation": 200, "test": 200},
        description="Posts to generate per split, for format `demo` only.",
    )

    @model_validator(mode="after")
    def _check_dates(self) -> Ingest:
        days = self.validation_from, self.test_from
        if any(days) and (not all(days) or days[0] >= days[1]):  # type: ignore[operator]
            raise ValueError(
                f"validation_from={days[0] or 'empty'} and test_from={days[1] or 'empty'} must "
                "both be set, and the validation split must begin first"
            )
        return self

    @model_validator(mode="after")
    def _check_catalog(self) -> Ingest:
        if self.catalog_from == "file" and self.catalog_min_count > 1:
            raise ValueError("catalog_min_count needs ingest.catalog_from=ground_truth")
        if self.catalog_from == "ground_truth" and self.catalog.startswith("catalog:"):
            raise ValueError(
                f"catalog={self.catalog} is a published catalog, whose items are used as a whole, "
                "but with ingest.catalog_from=ground_truth the conversations decide on the items; "
                "name a file, or use ingest.catalog_from=file"
            )
        return self

    @property
    def conversation_column_names(self) -> dict[str, str]:
        """`conversation_columns` with plain keys: role to the file's name."""
        return {str(role): column for role, column in self.conversation_columns.items()}

    @property
    def column_names(self) -> dict[str, str]:
        """`columns` with plain keys: convrec's name of a column to the file's name."""
        return {str(name): column for name, column in self.columns.items()}


class Recommend(Section):
    """The teacher LLM."""

    later_keys: ClassVar = frozenset({"neighbours"})

    source: Literal["live", "batch", "replay", "provided", "neighbours"] = Field(
        "live",
        description="`live` sends single requests, `batch` uses the Batch API at half the price, "
        "`replay` reads responses from a file, `provided` takes the lists in the data, "
        "`neighbours` makes lists of the ground truth of similar training conversations.",
    )
    neighbours: int = Field(
        300, gt=0, description="Nearest training turns that make a list, for `neighbours` only."
    )
    replay: str = Field(
        "", description="OpenAI Batch output file for `replay`, joined by conversation id."
    )
    model: str = Field("gpt-4o-mini", description="Model name of the teacher.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature.")
    max_tokens: int = Field(
        600, gt=0, description="Maximum tokens of a response, including reasoning."
    )
    years: bool | Literal["namesakes"] = Field(
        True,
        description="Write lists with years (`domain.line`) or without them. `namesakes`: only "
        "where several items of the catalog share a title; the teacher is asked for years.",
    )


class Remap(Section):
    """Teacher items to catalog items: s_remap = p·(S + I) + λ·s_conv."""

    later_keys: ClassVar = frozenset(
        {
            "links",
            "describe",
            "describe_model",
            "describe_source",
            "describe_max_tokens",
            "facts",
            "fact_source",
        }
    )

    similarity: Annotated[str, AfterValidator(SIMILARITIES.check)] = Field(
        "tfidf",
        description="Similarity model for S and s_conv: TF-IDF of title, year and genres, a local "
        "model (extra `st`), or embeddings from the endpoint in `llm`.",
    )
    model: str = Field(
        "",
        description="Embedding model: a folder, a Hub name, or the endpoint's model name. "
        "Empty: all-MiniLM-L6-v2 or text-embedding-3-small.",
    )
    similarity_weight: float = Field(
        0.3, ge=0, description="Weight of item similarity relative to the identity [S]."
    )
    conversation_weight: float = Field(
        0.3, ge=0, description="Weight of the conversation's similarity to an item [λ]."
    )
    links: Literal["fuzzy", "exact"] = Field(
        "fuzzy",
        description="How a teacher title becomes the identity [I] of an item: by fuzzy linking, or "
        "by an equal title with a year within two, as in the paper.",
    )
    keep: int = Field(50, gt=0, description="Candidates to keep per context.")
    describe: Literal["off", "facts", "missing", "all"] = Field(
        "off",
        description="Compare descriptions instead of titles. `all`: the LLM describes every item, "
        "and every title that the teacher names and the catalog lacks; `missing`: only where the "
        "catalog has no text; `facts`: without an LLM, from `facts` alone.",
    )
    describe_model: str = Field("", description="Model that describes; empty: recommend.model.")
    describe_source: Literal["live", "batch"] = Field(
        "live", description="`live` sends single requests, `batch` uses the Batch API."
    )
    describe_max_tokens: int = Field(
        400, gt=0, description="Maximum tokens of a description, including reasoning."
    )
    facts: str = Field(
        "",
        description="Facts for descriptions: a table with title and text or genres, or a folder of "
        "text files that begin with the title.",
    )
    fact_source: Annotated[str, AfterValidator(FACT_SOURCES.check)] = Field(
        "", description="Name of a source of facts that your code registers (docs/extending.md)."
    )

    @model_validator(mode="after")
    def _check_facts(self) -> Remap:
        if self.describe == "facts" and not (self.facts or self.fact_source):
            raise ValueError(
                "describe=facts needs facts: name a table or a folder in remap.facts, or use "
                "remap.describe=missing or all to have an LLM describe"
            )
        return self


class Reflect(Section):
    """The judge LLM: s_reflect = s_remap + γ·(rating/L)."""

    later_keys: ClassVar = frozenset({"describe"})

    enabled: bool = Field(True, description="Rate candidates; false skips the stage.")
    source: Literal["live", "batch"] = Field(
        "live", description="`live` sends single requests, `batch` uses the Batch API."
    )
    model: str = Field("gpt-4o-mini", description="Model name of the judge.")
    response_format: Literal["json_schema", "json_object", "text"] = Field(
        "json_schema",
        description="Structured output that the endpoint supports: a JSON schema (OpenAI, vLLM, "
        "llama-server), a JSON object (llama-cpp-python, which gets the schema as well), or none.",
    )
    top: int = Field(30, gt=0, description="Candidates to rate per context [N_r].")
    passes: int = Field(
        2, gt=0, description="Ratings per candidate, each pass in a different order."
    )
    debias: bool = Field(False, description="Subtract the fitted effect of the position.")
    scale: int = Field(2, gt=0, description="Ratings range from −L to +L [L].")
    weight: float = Field(0.5, ge=0, description="Score added by the highest rating [γ].")
    describe: bool = Field(
        False,
        description="Show the judge the descriptions of `remap.describe`, for a model that does "
        "not know every item.",
    )
    max_characters: int = Field(
        6000,
        gt=0,
        description="Maximum characters of a conversation; a longer one keeps both its ends.",
    )
    max_tokens: int = Field(
        600, gt=0, description="Maximum tokens of a response, including reasoning."
    )


class Adjust(Section):
    """Popularity adjustment: s_final = w ⊙ s_reflect + b, fitted on training ground truth."""

    later_keys: ClassVar = frozenset({"folds", "ground_truth_first"})

    pull: float = Field(0.5, ge=0, description="Regularization of the weights [w] towards 1.")
    bias_pull: float = Field(128, ge=0, description="Regularization of the biases [b] towards 0.")
    balance: float | None = Field(
        None,
        ge=0,
        description="Penalty for items that the teacher lists often [κ]. Empty: selected on "
        "validation, the best ranking of those that lower the Gini coefficient of popularity.",
    )
    patience: int = Field(
        10, gt=0, description="Stop after N iterations without a lower validation loss."
    )
    max_iterations: int = Field(200, gt=0, description="Maximum iterations of the fit.")
    enabled: bool = Field(True, description="Adjust scores; false skips the stage.")
    folds: Annotated[int, AfterValidator(_check_folds)] = Field(
        0,
        ge=0,
        description="Cross-fitting: dialogues are split into N folds, and a training list is made "
        "with the w and b of a fit on the other folds. 0: one fit for all lists.",
    )
    ground_truth_first: bool = Field(
        False,
        description="Training demonstrations begin with the sample's own ground truth, as far as "
        "the catalog has it and it is unseen; there is one for each sample.",
    )
