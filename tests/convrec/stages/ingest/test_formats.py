"""An input format that is added from outside the package."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from convrec.config import Config, load
from convrec.config.choices import INPUT_FORMATS
from convrec.errors import ConfigError
from convrec.stages.ingest.formats import FORMATS, RowFormat, register_format
from convrec.stages.ingest.raw_rows import RawRow
from convrec.stages.ingest.read import read_data


class SupportTickets(RowFormat):
    """A CSV file with columns `ticket` and `bought`."""

    def files(self, config: Config) -> list[tuple[str, Path]]:
        path = Path(config.ingest.path) / "tickets.csv"
        return [(path.name, path)]

    def rows(self, config: Config) -> Iterator[RawRow]:
        ((name, path),) = self.files(config)
        with path.open(encoding="utf-8", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                value = {
                    "prompt": row["ticket"],
                    "seen_titles": [],
                    "groundtruth_with_release_year": [[row["bought"], "1995"]],
                }
                yield RawRow(name, "", line, value, "", json.dumps(value))


@pytest.fixture
def tickets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(INPUT_FORMATS, "names", list(INPUT_FORMATS.names))
    monkeypatch.setitem(FORMATS, "tickets", SupportTickets())
    register_format("tickets", SupportTickets())
    lines = [f"I need film number {number},Heat" for number in range(40)]
    (tmp_path / "tickets.csv").write_text("\n".join(["ticket,bought", *lines, ",Heat"]))
    (tmp_path / "catalog.csv").write_text("title,year\nHeat,1995\n")
    return tmp_path


def test_a_registered_format_is_ingested(tickets: Path) -> None:
    config = load("reddit-v2", {"ingest.format": "tickets", "ingest.path": str(tickets)})
    data = read_data(config)
    assert data.catalog["title"].to_list() == ["Heat"]
    assert data.conversations.height == 40
    assert data.conversations["ground_truth"][0].to_list() == [{"title": "Heat", "year": 1995}]
    assert data.quarantine["source"].to_list() == ["tickets.csv"]


def test_an_unknown_format_names_the_registered_ones(tickets: Path) -> None:
    with pytest.raises(ConfigError, match="'inspired', 'redial', 'table' or 'tickets'"):
        load("reddit-v2", {"ingest.format": "mail"})


def test_the_configuration_allows_the_registered_formats() -> None:
    assert set(INPUT_FORMATS.names) == set(FORMATS)
