from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from convrec.artifacts import Store
from convrec.artifacts.commands import app
from convrec.artifacts.lineage import descendants, direct_edges, mermaid
from tests.convrec.artifacts.test_gc import ids, put, run
from tests.convrec.test_markdown import HOSTILE, one_line


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


def test_a_pin_with_a_name_takes_the_place_of_another(home: Store) -> None:
    old, new = put(home, "old"), put(home, "new")
    for one in (old, new, old):
        said("pin", one, "--name", "similarity_basis/demo/1")
    assert told("pins") == {"similarity_basis/demo/1": old}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_from_outside_breaks_neither_drawing_nor_table(store: Store, name: str) -> None:
    made = put(store, "a")
    drawn = mermaid(store, [made], names={made: name})
    lines = drawn.splitlines()
    assert lines[3:5] == ["```mermaid", "flowchart TB"]
    assert lines.count("```") == 1
    (node,) = [line for line in lines if line.strip().startswith("a0[")]
    assert node.count('"') == 2
    assert "<script" not in drawn
    (row,) = [line for line in lines if line.startswith(f"| {made}")]
    assert len(one_line(name)) < len(row)
