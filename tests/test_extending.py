"""The code of docs/extending.md runs, and what it registers is used."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from convrec.artifacts import Store
from convrec.config import choices, load
from convrec.metrics.registry import RANKING_METRICS
from convrec.stages.base import StepContext
from convrec.stages.ingest.formats import FORMATS
from convrec.stages.ingest.read import read_conversations
from convrec.stages.rank_grpo.algorithms import ALGORITHMS
from convrec.stages.remap.descriptions.facts import SOURCES, read_facts
from convrec.stages.remap.similarity import SIMILARITY_MODELS

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture
def page_code(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's code defines; its registrations end with the test."""
    for allowed in (
        choices.INPUT_FORMATS,
        choices.SIMILARITIES,
        choices.ALGORITHMS,
        choices.FACT_SOURCES,
    ):
        monkeypatch.setattr(allowed, "names", list(allowed.names))
    for table, name in (
        (RANKING_METRICS, "precision"),
        (ALGORITHMS, "signed"),
        (FORMATS, "tickets"),
        (SIMILARITY_MODELS, "same-year"),
        (SOURCES, "lengths"),
    ):
        monkeypatch.setitem(table, name, None)  # type: ignore[arg-type]
    blocks = re.findall(r"^( *)```python\n(.*?)^ *```", PAGE.read_text("utf-8"), re.S | re.M)
    assert len(blocks) == 9
    names: dict[str, Any] = {}
    for _, block in blocks:
        exec(compile(textwrap.dedent(block), str(PAGE), "exec"), names)
    return names


def test_what_the_page_registers_can_be_configured(page_code: dict[str, Any]) -> None:
    settings = {
        "ingest.format": "tickets",
        "remap.similarity": "same-year",
        "rank_grpo.algorithm": "signed",
        "remap.fact_source": "lengths",
    }
    config = load("demo", settings)
    assert config.rank_grpo.algorithm == "signed"
    assert ALGORITHMS["signed"].trainer is page_code["SignedTrainer"]
    assert SIMILARITY_MODELS["same-year"] is page_code["SameYear"]
    facts = read_facts(config)
    assert facts is not None
    assert facts.find([("The Thing", 1982)]) == ["a movie with 2 words"]
    assert RANKING_METRICS["precision"].label == "Precision"


def test_the_format_of_the_page_reads_its_file(page_code: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text("ticket,bought\nA heist film please,Heat\n")
    config = load("demo", {"ingest.format": "tickets", "ingest.path": str(tmp_path)})
    conversations, bad = read_conversations(config)
    assert conversations["conversation"].to_list() == ["A heist film please"]
    assert bad.is_empty()


def test_the_stage_of_the_page_builds_its_rows(page_code: dict[str, Any], store: Store) -> None:
    rows = {"context_id": ["a", "a", "b"], "conversation": ["long enough"] * 2 + [""]}
    ctx = StepContext(load("demo"), store, frames={"conversations": pl.DataFrame(rows)})
    node = page_code["FILTERED_NODE"]
    built = node.step.build(ctx).rows
    assert built.columns == list(page_code["FILTERED"])
    assert built["characters"].to_list() == [11, 0]
    assert node.step.spec(ctx).artifact_id.startswith("filtered_contexts-")
