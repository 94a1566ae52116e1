from __future__ import annotations

from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.artifacts.runs import COMPLETED, RunArtifact, add_run_artifact, start_run
from convrec.artifacts.trace.conversation import trace_conversation
from convrec.artifacts.trace.lineage_path import find_lineage_path
from convrec.errors import InputError
from tests.support.traced_conversation import HOSTILE, POST, put_artifacts

pytestmark = pytest.mark.on_ducklake


def traced(store: Store, name: str, **options: str) -> dict[str, Any]:
    return trace_conversation(store, name, find_lineage_path(store, name, **options))


def test_a_sample_is_traced_through_all_stages(store: Store) -> None:
    ids = put_artifacts(store)
    found = traced(store, "s0")
    assert found["context_id"] == "c1"
    assert found["run"] is None
    assert found["artifacts"] == {
        **{kind: name for kind, name in ids.items() if kind not in ("checkpoint", "generations")},
        "checkpoint_sft": ids["checkpoint"],
        "generations_sft": ids["generations"],
    }
    (sample,) = found["samples"]
    assert sample["conversation"] == POST
    assert sample["seen"] == ["Speed"]
    assert sample["ground_truth"] == ["Ronin (1998)"]
    assert found["failures"] == {"judgments": "one pass"}
    assert found["demonstrations"][0]["completion"].startswith("Ronin (1998)\n")


def test_teacher_lines_have_a_link_or_a_note(store: Store) -> None:
    put_artifacts(store)
    lines = traced(store, "c1")["teacher"]
    assert [line["line"] for line in lines] == [
        "1. Heat (1995)",
        f"2. {HOSTILE}",
        "3. Heat",
        "4. Xyzzy",
    ]
    assert [line["item_id"] for line in lines] == ["i2", "i1", "i2", None]
    assert lines[0]["runner_up"] == "Ronin (1998)"
    assert (lines[0]["link_score"], lines[0]["runner_up_score"]) == (100.0, 61.0)
    assert [line["note"] for line in lines] == [
        "",
        "",
        "the same item as a line above",
        "nothing in the catalog",
    ]


def test_scores_are_computed_from_stored_values(store: Store) -> None:
    put_artifacts(store)
    rows = {row["item_id"]: row for row in traced(store, "c1")["candidates"]}
    scores = {item: (r["s_remap"], r["s_reflect"], r["s_final"]) for item, r in rows.items()}
    assert scores == {
        "i1": (0.7, 0.7, pytest.approx(2.0 * 0.7 - 0.5)),
        "i2": (1.0, 0.25, 0.25),
        "i3": (0.4, 1.4, 1.4),
        "i4": (0.9, 0.9, 0.9),
    }
    assert rows["i3"]["ratings"] == [2, 2]
    assert {item: row["final_rank"] for item, row in rows.items()} == {
        "i3": 1,
        "i1": 2,
        "i2": 3,
        "i4": None,
    }
    assert [item for item, row in rows.items() if row["seen"]] == ["i4"]


def test_generated_lists_are_marked_for_each_sample(store: Store) -> None:
    put_artifacts(store)
    assert {one["sample_id"] for one in traced(store, "c1")["lists"]} == {"s0", "s1"}
    (one,) = traced(store, "s0")["lists"]
    assert [line["mark"] for line in one["lines"]] == ["hit", "seen", "repeat", "outside", ""]


def test_the_newest_run_is_traced_unless_another_is_selected(store: Store) -> None:
    old, new = put_artifacts(store, "old"), put_artifacts(store, "new")
    for run_id, ids in (("run-1", old), ("run-2", new), ("run-3", {})):
        start_run(store, run_id, flow="pipeline", profile="demo", overrides={}, config={})
        for kind, name in ids.items():
            add_run_artifact(store, run_id, RunArtifact(kind, name, COMPLETED, 0.1))
    assert traced(store, "s0")["run"]["run_id"] == "run-2"
    assert traced(store, "s0")["artifacts"]["demonstrations"] == new["demonstrations"]
    earlier = traced(store, "s0", run="run-1")
    assert earlier["artifacts"]["demonstrations"] == old["demonstrations"]
    behind = traced(store, "s0", of=old["candidates"])["artifacts"]
    assert behind.keys() == {"catalog", "conversations", "teacher_lists", "candidates"}
    with pytest.raises(InputError, match="is not among the ancestors of"):
        find_lineage_path(store, "s0", of=old["catalog"])


def test_an_unknown_conversation_is_refused(store: Store) -> None:
    put_artifacts(store)
    with pytest.raises(InputError, match="no conversation 'nobody'"):
        find_lineage_path(store, "nobody")
