"""Years and completions in the lists to score, in other forms than the plain ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from convrec.errors import InputError
from convrec.metrics.scored_lists import EvaluationProtocol
from convrec.stages.evaluate.score_file import score_file
from convrec.stages.evaluate.score_rows import BadRow, ScoreRow, read_score_rows

ROW = {
    "completion": "Heat (1995)",
    "seen_titles": [],
    "groundtruth_with_release_year": [["Heat", 1995]],
}


def read(path: Path) -> tuple[list[ScoreRow], list[BadRow]]:
    bad: list[BadRow] = []
    return list(read_score_rows(path, "standard", bad)), bad


@pytest.mark.parametrize(
    "year", [1995, 1995.0, "1995", "1995.0", " 1995 ", "(1995)", "1995-12-15", "1995-12", "[1995]"]
)
def test_a_year_in_any_form(tmp_path: Path, year: Any) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text(json.dumps(ROW | {"groundtruth_with_release_year": [["Heat", year]]}))
    rows, bad = read(path)
    assert not bad
    assert list(rows[0].to_score.ground_truth) == [("Heat", 1995)]


@pytest.mark.parametrize(
    "completion",
    [
        [{"role": "assistant", "content": "Heat (1995)"}],
        {"role": "assistant", "content": "Heat (1995)"},
        [{"role": "assistant", "content": [{"type": "text", "text": "Heat (1995)"}]}],
        [{"from": "gpt", "value": "Heat (1995)"}],
    ],
)
def test_a_completion_in_any_form(tmp_path: Path, completion: Any) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text(json.dumps(ROW | {"completion": completion}))
    rows, bad = read(path)
    assert not bad
    assert rows[0].to_score.completion == "Heat (1995)"


@pytest.mark.parametrize(
    "name", ["lists[1].jsonl", "li?ts*.jsonl", "{a,b}.jsonl.gz", "ü #%20.jsonl"]
)
def test_a_compressed_file_under_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(json.dumps(ROW).encode()))
    assert len(read(tmp_path / name)[0]) == 1


@pytest.mark.parametrize("protocol", ["standard", "per-label"])
def test_decimal_years_are_years_on_every_side(
    tmp_path: Path, protocol: EvaluationProtocol
) -> None:
    (tmp_path / "catalog.csv").write_text("title,year\nHeat,1995.0\nHeat,1986.0\nRonin,1998.0\n")
    row = {
        "completion": "Ronin (1998.0)\nHeat (1995.0)",
        "seen_titles": ["Ronin (1998.0)"],
        "groundtruth_with_release_year": [["Heat (1995.0)", None], ["Heat", "1995.0"]],
    }
    (tmp_path / "lists.jsonl").write_text(json.dumps(row))
    result = score_file(
        tmp_path / "lists.jsonl", tmp_path / "catalog.csv", protocol=protocol, resamples=2
    )
    assert result.metrics["recall@5"].value > 0


def test_a_pointer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match="run `git lfs pull`"):
        read(path)
