from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.identity import short_hash
from convrec.artifacts.lineage import descendants, direct_edges, lineage_markdown
from convrec.catalog.load import load_catalog
from convrec.cli.artifacts import app
from convrec.errors import InputError
from tests.support.artifacts import put_artifact, record_run, stored_ids
from tests.support.markdown import HOSTILE_TEXTS, one_line

pytestmark = pytest.mark.on_ducklake


@pytest.fixture
def home(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("CONVREC_HOME", str(store.home))
    return store


def json_output(*words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--json", "-"], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.stdout)


def text_output(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_lineage_shows_ancestors_and_descendants(home: Store) -> None:
    root = put_artifact(home, "root")
    middle = put_artifact(home, "middle", root)
    leaf = put_artifact(home, "leaf", middle, root)
    relations = {one["artifact_id"]: one["relation"] for one in json_output("lineage", middle)}
    assert relations == {middle: "itself", root: "made_from", leaf: "used_by"}
    made_from, used_by = text_output("lineage", middle).split("used by")
    assert root in made_from
    assert leaf in used_by
    assert leaf not in made_from
    assert direct_edges(descendants(home, root)) == [(root, middle), (middle, leaf)]


def test_the_beginning_of_an_id_or_hash_is_enough(home: Store) -> None:
    first, second = put_artifact(home, "a"), put_artifact(home, "b")
    kind, _, digest = first.rpartition("-")
    for short in (first, f"{kind}-{digest[:6]}", digest[:4], digest):
        assert json_output("show", short)["artifact_id"] == first
        assert json_output("lineage", short)[0]["artifact_id"] == first
    with pytest.raises(InputError, match=rf"begins several ids: {first}, {second}; write more"):
        text_output("show", kind)
    for unknown in (digest[:3], "zzzz", first + "0", digest[1:9]):
        with pytest.raises(InputError, match=f"no artifact {unknown}"):
            text_output("show", unknown)
    assert first in text_output("pin", digest[:5])
    assert "no longer pinned" in text_output("unpin", digest[:5])


def test_runs_and_their_artifacts_are_listed(home: Store) -> None:
    first, second = put_artifact(home, "a"), put_artifact(home, "b")
    record_run(home, "run-one", first)
    record_run(home, "run-two", first, second)
    assert [one["run_id"] for one in json_output("list", "--runs")] == ["run-two", "run-one"]
    assert [one["artifact_id"] for one in json_output("list", "--run", "run-o")] == [first]


def test_an_unknown_kind_is_refused(home: Store) -> None:
    with pytest.raises(InputError, match=r"'foo' is not a kind .* catalog, "):
        text_output("list", "--kind", "foo")
    assert text_output("list", "--kind", "catalog") == f"{home.location} has no catalog yet\n"


def test_gc_deletes_with_yes_and_keeps_pinned_artifacts(home: Store) -> None:
    kept, gone = put_artifact(home, "kept"), put_artifact(home, "gone")
    record_run(home, "run-one", kept, gone)
    text_output("pin", kept)
    assert json_output("pins") == {f"kept/{kept}": kept}
    shown = json_output("gc", "--keep-runs", "0")
    assert [one["artifact_id"] for one in shown["artifacts"]] == [gone]
    assert shown["deleted"] is False
    assert stored_ids(home) == {kept, gone}
    assert json_output("gc", "--keep-runs", "0", "--yes")["deleted"] is True
    assert stored_ids(home) == {kept}
    assert kept in text_output("unpin", kept)
    assert json_output("pins") == {}
    assert "is not pinned" in text_output("unpin", kept)
    with pytest.raises(InputError, match="no artifact nope"):
        text_output("unpin", "nope")


def test_a_named_pin_replaces_another(home: Store) -> None:
    old, new = put_artifact(home, "old"), put_artifact(home, "new")
    for one in (old, new, old):
        text_output("pin", one, "--name", "similarity_basis/demo/1")
    assert json_output("pins") == {"similarity_basis/demo/1": old}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_a_hostile_name_breaks_neither_diagram_nor_table(store: Store, name: str) -> None:
    made = put_artifact(store, "a")
    drawn = lineage_markdown(store, [made], names={made: name})
    lines = drawn.splitlines()
    assert lines[3] == "```mermaid"
    assert lines[5] == "flowchart TB"
    assert lines.count("```") == 1
    (node,) = [line for line in lines if line.strip().startswith("a0[")]
    assert node.count('"') == 2
    assert "<script" not in drawn
    (row,) = [line for line in lines if line.startswith("| ") and short_hash(made) in line]
    assert len(one_line(name)) < len(row)


def test_artifacts_are_listed_and_shown(home: Store) -> None:
    first = put_artifact(home, "a")
    assert [one["artifact_id"] for one in json_output("list", "--kind", "quarantine")] == [first]
    assert json_output("list", "--kind", "catalog") == []
    assert first in text_output("list")
    shown = json_output("show", first, "--rows", "1")
    assert shown["artifact_id"] == first
    assert shown["rows_shown"] == home.read(first).head(1).to_dicts()
    assert first in text_output("show", first)
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
    assert "2 rows" in text_output("export", ref.artifact_id, str(file))
    back = read(file)
    assert back["completion"].fill_null("").to_list() == rows["completion"].to_list()
    items = back["items"].to_list()
    assert [json.loads(i) if isinstance(i, str) else i for i in items] == rows["items"].to_list()


def test_an_exported_catalog_is_loaded_with_the_same_items(home: Store, tmp_path: Path) -> None:
    source, exported = tmp_path / "source.csv", tmp_path / "exported.csv"
    source.write_text("title,year,aliases,genres,mood\nHeat,1995,Fire|Hot,Crime,tense\nGo,,,,\n")
    items = load_catalog(source)[0]
    ref = home.put(ArtifactSpec("catalog", "ingest", 1), StepResult(items))
    text_output("export", ref.artifact_id, str(exported))
    assert load_catalog(exported)[0].equals(items)


@pytest.mark.parametrize(("file", "problem"), [("no/x.csv", "does not exist"), ("x.xls", "xls")])
def test_rows_are_not_exported_to_an_invalid_file(home: Store, file: str, problem: str) -> None:
    artifact = put_artifact(home, "a")
    with pytest.raises(InputError, match=problem):
        text_output("export", artifact, file)


@pytest.mark.parametrize("place", ["", "nope", "postgres://127.0.0.1/lake"])
def test_a_warehouse_is_copied_only_into_a_lake(home: Store, place: str) -> None:
    with pytest.raises(InputError, match="is not the address of a lake"):
        text_output("copy", "--to", place)
