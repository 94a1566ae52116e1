"""The formats of `ingest.format`. A new format is one class and one entry of FORMATS.

A format whose rows have the Reddit-v2 schema, or can be turned into it, subclasses `RowFormat` and
yields those rows. `register_format` adds a format from outside this package.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from calendar import timegm
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.config import Config
from convrec.config.choices import INPUT_FORMATS
from convrec.demo.posts import generate_rows
from convrec.demo.world import world_files
from convrec.errors import InputError
from convrec.stages.ingest.dialogues import Entities, read_dialogues
from convrec.stages.ingest.files import (
    SkippedFile,
    conversation_files,
    dialogue_file,
    entity_files,
    skipped_files,
)
from convrec.stages.ingest.newer_reading import is_read_differently
from convrec.stages.ingest.raw_rows import ConversationFile, RawRow, read_raw_rows
from convrec.stages.ingest.reddit import read_reddit_rows
from convrec.stages.ingest.sample_buffer import SampleBuffer
from convrec.stages.ingest.samples import SPLIT_RULE, select_samples
from convrec.stages.ingest.splits import REDDIT_TIMES, SplitTimes
from convrec.stages.ingest.table import TableReader

Frames = tuple[pl.DataFrame, pl.DataFrame]
"""(usable rows, quarantine)"""

StoredRows = tuple[pl.DataFrame | ParquetRows, pl.DataFrame]
"""`Frames` whose usable rows may be in a file."""


class InputFormat(ABC):
    """Reads conversations from the files of a configuration."""

    digest_name = "conversations"
    """Under which the digest of the files enters the artifact id."""

    @abstractmethod
    def files(self, config: Config) -> list[tuple[str, Path]]:
        """(name, path) of every file that is read. Raises InputError for missing files."""

    @abstractmethod
    def read(self, config: Config) -> StoredRows:
        """The conversations and their quarantine. Raises InputError for unusable files."""

    def settings(self, config: Config) -> dict[str, Any]:
        """Settings other than `format` and `limit` that can change the conversations."""
        return {}

    def is_read_differently(self, config: Config) -> bool:
        """Whether convrec read the same files differently before; the id says it if so."""
        return False

    def skipped(self, config: Config) -> list[SkippedFile]:
        """The files next to the data that are not read."""
        return []

    def read_catalog(self, config: Config) -> Frames:
        """The items and their quarantine, if the data brings no catalog file."""
        raise InputError(
            f"ingest.format={config.ingest.format} has no catalog of its own; set ingest.catalog "
            "to a file"
        )


class RowFormat(InputFormat):
    """A format of rows with the Reddit-v2 schema: prompt, seen_titles, ground truth, ...."""

    @abstractmethod
    def rows(self, config: Config) -> Iterable[RawRow]:
        """The rows. A list is passed over twice; anything else is asked for again."""

    def location(self, config: Config) -> str:
        """Where the rows come from, as error messages say it."""
        return f"ingest.path={config.ingest.path}"

    def split_times(self, config: Config) -> SplitTimes | None:
        """When the validation and the test split begin; None if dates do not decide on splits."""
        return REDDIT_TIMES

    def split_rule(self, config: Config) -> str:
        """Which rows the train split has, as an error message says it."""
        return SPLIT_RULE

    def read(self, config: Config) -> StoredRows:
        """The conversations and their quarantine."""
        where, buffer = self.location(config), SampleBuffer()
        rows = self.rows(config)
        ids, bad = read_reddit_rows(
            lambda: rows if isinstance(rows, list) else self.rows(config),
            where,
            buffer,
            self.split_times(config),
        )
        limit, rule = config.ingest.limit, self.split_rule(config)
        selected = select_samples(ids, bad, limit, where, rule)
        return buffer.write_conversations(selected), artifact_frame("quarantine", bad)


class RedditFormat(RowFormat):
    """The authors' processed Reddit-v2: JSONL, Parquet or a `datasets` folder."""

    def files(self, config: Config) -> list[tuple[str, Path]]:
        """The files of conversations."""
        return [(file.source, file.path) for file in conversation_files(config)]

    def rows(self, config: Config) -> Iterable[RawRow]:
        """The rows of all files."""
        return chain.from_iterable(map(read_raw_rows, conversation_files(config)))

    def is_read_differently(self, config: Config) -> bool:
        """Whether a file name or a row is read in a way that is newer than the format."""
        return is_read_differently(conversation_files(config))

    def skipped(self, config: Config) -> list[SkippedFile]:
        """The files of the folder that are not read."""
        return skipped_files(config)


class TableFormat(RowFormat):
    """Tables and JSON rows whose columns the user names."""

    def files(self, config: Config) -> list[tuple[str, Path]]:
        """The files of conversations."""
        return [(file.source, file.path) for file in self._files(config)]

    def settings(self, config: Config) -> dict[str, Any]:
        """The columns, the separator and the dates of the splits."""
        return config.ingest.identity_settings(
            "conversation_columns", "separator", "validation_from", "test_from"
        )

    def rows(self, config: Config) -> Iterable[RawRow]:
        """The rows of all files, in the schema of Reddit-v2."""
        reader = TableReader(
            config.ingest.conversation_column_names,
            config.ingest.separator,
            self.location(config),
            needs_date=config.ingest.test_from is not None,
        )
        return reader.convert(chain.from_iterable(map(read_raw_rows, self._files(config))))

    def split_times(self, config: Config) -> SplitTimes | None:
        """The days of the settings."""
        days = config.ingest.validation_from, config.ingest.test_from
        first, second = (timegm(day.timetuple()) if day else 0 for day in days)
        return SplitTimes(first, second) if second else None

    def split_rule(self, config: Config) -> str:
        """The days of the settings, or a column, or a hash."""
        return (
            "the rows before ingest.validation_from if that is set, else it follows the column "
            "`split`, the names of the files, or a hash"
        )

    def skipped(self, config: Config) -> list[SkippedFile]:
        """The files of the folder that are not read."""
        return skipped_files(config, self._key(config))

    def _files(self, config: Config) -> list[ConversationFile]:
        return conversation_files(config, self._key(config))

    @staticmethod
    def _key(config: Config) -> str:
        return config.ingest.conversation_column_names.get("conversation", "conversation")


class DemoFormat(RowFormat):
    """Generated posts about the demo's world."""

    digest_name = "world"

    def files(self, config: Config) -> list[tuple[str, Path]]:
        """The files that describe the world."""
        return [(path.name, path) for path in world_files(config.ingest.world)]

    def settings(self, config: Config) -> dict[str, Any]:
        """The seed and the number of posts per split."""
        return {"seed": config.seed, **config.ingest.identity_settings("contexts")}

    def location(self, config: Config) -> str:
        """The generator."""
        return "the demo's generator"

    def rows(self, config: Config) -> Iterable[RawRow]:
        """The generated posts as rows."""
        contexts = {str(split): count for split, count in config.ingest.contexts.items()}
        rows = enumerate(generate_rows(config.seed, contexts, config.ingest.world), start=1)
        return [RawRow("demo", "", line, row, "", json.dumps(row)) for line, row in rows]


class DialogueFormat(InputFormat):
    """INSPIRED and ReDial: dialogues with entity files instead of a catalog."""

    def __init__(self, *, has_years: bool) -> None:
        self.has_years = has_years

    def files(self, config: Config) -> list[tuple[str, Path]]:
        """The dialogues and the two entity files."""
        return [(path.name, path) for path in (dialogue_file(config), *entity_files(config))]

    def read(self, config: Config) -> StoredRows:
        """The turns at which something is recommended, and their quarantine."""
        path = dialogue_file(config)
        raw_rows = read_raw_rows(ConversationFile(path, path.name, ""))
        rows, bad = read_dialogues(raw_rows, self._entities(config), str(path))
        samples = artifact_frame("conversations", rows)
        selected = select_samples(samples, bad, config.ingest.limit, str(path))
        return selected, artifact_frame("quarantine", bad)

    def is_read_differently(self, config: Config) -> bool:
        """Whether a dialogue is deleted, which was not always noticed."""
        path = dialogue_file(config)
        return is_read_differently([ConversationFile(path, path.name, "")])

    def read_catalog(self, config: Config) -> Frames:
        """The items that the entity files name."""
        return self._entities(config).catalog()

    def _entities(self, config: Config) -> Entities:
        item_ids, entity2id = entity_files(config)
        return Entities(item_ids, entity2id, years=self.has_years)


FORMATS: dict[str, InputFormat] = {
    "demo": DemoFormat(),
    "reddit-v2": RedditFormat(),
    "inspired": DialogueFormat(has_years=False),
    "redial": DialogueFormat(has_years=True),
    "table": TableFormat(),
}


def register_format(name: str, input_format: InputFormat) -> None:
    """Allow `ingest.format=name`; call it before the configuration is loaded."""
    FORMATS[name] = input_format
    INPUT_FORMATS.add(name)
