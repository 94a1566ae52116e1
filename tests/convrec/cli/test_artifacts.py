from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.lineage import descendants, direct_edges, lineage_markdown
from convrec.cli.artifacts import app
from convrec.errors import InputError
from tests.convrec.operations.test_gc import ids, put, run
from tests.support.markdown import HOSTILE_TEXTS, one_line


@pytest.fixture
def home(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("CONVREC_HOME", str(store.home))
    return store


def told(*words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--json", "-"], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.stdout)


def said(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_lineage_goes_upwards_and_downwards(home: Store) -> None:
    root = put(home, "root")
    middle = put(home, "middle", root)
    leaf = put(home, "leaf", middle, root)
    relations = {one["artifact_id"]: one["relation"] for one in told("lineage", middle)}
    assert relations == {middle: "itself", root: "made_from", leaf: "used_by"}
    made_from, used_by = said("lineage", middle).split("used by")
    assert root in made_from
    assert leaf in used_by
    assert leaf not in made_from
    assert direct_edges(descendants(home, root)) == [(root, middle), (middle, leaf)]


def test_runs_and_what_they_used_are_listed(home: Store) -> None:
    first, second = put(home, "a"), put(home, "b")
    run(home, "run-one", first)
    run(home, "run-two", first, second)
    assert [one["run_id"] for one in told("list", "--runs")] == ["run-two", "run-one"]
    assert [one["artifact_id"] for one in told("list", "--run", "run-o")] == [first]


def test_a_kind_that_there_is_not_is_refused(home: Store) -> None:
    with pytest.raises(InputError, match=r"'foo' is no kind .* catalog, "):
        said("list", "--kind", "foo")
    assert said("list", "--kind", "catalog") == f"no catalog was made yet in {home.location}\n"


def test_gc_only_shows_until_it_is_told_and_leaves_what_is_pinned(home: Store) -> None:
    kept, gone = put(home, "kept"), put(home, "gone")
    run(home, "run-one", kept, gone)
    said("pin", kept)
    assert told("pins") == {f"kept/{kept}": kept}
    shown = told("gc", "--keep-runs", "0")
    assert [one["artifact_id"] for one in shown["artifacts"]] == [gone]
    assert shown["deleted"] is False
    assert ids(home) == {kept, gone}
    assert told("gc", "--keep-runs", "0", "--yes")["deleted"] is True
    assert ids(home) == {kept}
    assert kept in said("unpin", kept)
    assert told("pins") == {}
    assert "was not pinned" in said("unpin", kept)
    with pytest.raises(InputError, match="no artifact nope"):
        said("unpin", "nope")


def test_a_pin_with_a_name_takes_the_place_of_another(home: Store) -> None:
    old, new = put(home, "old"), put(home, "new")
    for one in (old, new, old):
        said("pin", one, "--name", "similarity_basis/demo/1")
    assert told("pins") == {"similarity_basis/demo/1": old}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_a_name_from_outside_breaks_neither_drawing_nor_table(store: Store, name: str) -> None:
    made = put(store, "a")
    drawn = lineage_markdown(store, [made], names={made: name})
    lines = drawn.splitlines()
    assert lines[3:5] == ["```mermaid", "flowchart TB"]
    assert lines.count("```") == 1
    (node,) = [line for line in lines if line.strip().startswith("a0[")]
    assert node.count('"') == 2
    assert "<script" not in drawn
    (row,) = [line for line in lines if line.startswith(f"| {made}")]
    assert len(one_line(name)) < len(row)


def test_artifacts_are_listed_and_shown(home: Store) -> None:
    first = put(home, "a")
    assert [one["artifact_id"] for one in told("list", "--kind", "quarantine")] == [first]
    assert told("list", "--kind", "catalog") == []
    assert first in said("list")
    shown = told("show", first, "--rows", "1")
    assert shown["artifact_id"] == first
    assert shown["rows_shown"] == home.read(first).head(1).to_dicts()
    assert first in said("show", first)
    for rows in ("-1", str(10**20)):
        assert CliRunner().invoke(app, ["show", first, "--rows", rows]).exit_code == 2


@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".csv", pl.read_csv), (".jsonl", pl.read_ndjson), (".parquet", pl.read_parquet)],
)
def test_rows_are_exported(home: Store, tmp_path: Path, suffix: str, read: Any) -> None:
    rows = pl.DataFrame(
        {
            "context_id": ["c", "d"],
            "sample_id": [None, "d/0"],
            "split": ["train"] * 2,
            "items": [["a", "b|,"], []],
            "completion": ["A\nB", ""],
        }
    )
    ref = home.put(ArtifactSpec("demonstrations", "adjust", 1), StepResult(rows))
    file = tmp_path / f"rows{suffix}"
    assert "2 rows" in said("export", ref.artifact_id, str(file))
    back = read(file)
    assert back["completion"].fill_null("").to_list() == rows["completion"].to_list()
    items = back["items"].to_list()
    assert [json.loads(i) if isinstance(i, str) else i for i in items] == rows["items"].to_list()


@pytest.mark.parametrize(("file", "problem"), [("no/x.csv", "does not exist"), ("x.xls", "xls")])
def test_rows_are_not_exported_to_what_cannot_be(home: Store, file: str, problem: str) -> None:
    artifact = put(home, "a")
    with pytest.raises(InputError, match=problem):
        said("export", artifact, file)


@pytest.mark.parametrize("place", ["", "nope", "postgres://127.0.0.1/lake"])
def test_a_copy_goes_into_a_lake_and_nothing_else(home: Store, place: str) -> None:
    with pytest.raises(InputError, match="names no lake"):
        said("copy", "--to", place)
