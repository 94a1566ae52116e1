"""A hand-made artifact of every kind for one conversation, with hostile titles."""

from __future__ import annotations

import polars as pl

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.tables import KINDS

HOSTILE = '<script>alert("x")</script> `rm` | end]:::cached %%{init: {}}%%'
POST = f"USER: something like {HOSTILE}\n```mermaid\nflowchart"

ROWS = {
    "catalog": [
        {"item_id": "i1", "title": HOSTILE, "year": 1999},
        {"item_id": "i2", "title": "Heat", "year": 1995},
        {"item_id": "i3", "title": "Ronin", "year": 1998},
        {"item_id": "i4", "title": "Speed", "year": 1994},
    ],
    "conversations": [
        {
            "sample_id": f"s{n}",
            "context_id": "c1",
            "split": "test",
            "conversation": POST,
            "seen": [{"title": "Speed", "year": None}],
            "ground_truth": [{"title": "Ronin", "year": 1998 + n}],
        }
        for n in (0, 1)
    ],
    "teacher_lists": [
        {"context_id": "c1", "rank": 1, "line": "1. Heat (1995)", "title": "Heat", "year": 1995},
        {"context_id": "c1", "rank": 2, "line": f"2. {HOSTILE}", "title": HOSTILE, "year": None},
        {"context_id": "c1", "rank": 3, "line": "3. Heat", "title": "Heat", "year": None},
        {"context_id": "c1", "rank": 4, "line": "4. Xyzzy", "title": "Xyzzy", "year": None},
    ],
    "candidates": [
        {"context_id": "c1", "rank": 1, "item_id": "i2", "score": 1.0, "identity": 1.0,
         "similarity": 0.0, "conversation": 0.0, "linked_from": "Heat (1995)",
         "link_method": "exact", "link_score": 100.0, "runner_up": "Ronin (1998)",
         "runner_up_score": 61.0},
        {"context_id": "c1", "rank": 2, "item_id": "i4", "score": 0.9, "identity": 0.0,
         "similarity": 0.9, "conversation": 0.0},
        {"context_id": "c1", "rank": 3, "item_id": "i1", "score": 0.7, "identity": 0.7,
         "similarity": 0.0, "conversation": 0.0, "linked_from": HOSTILE, "link_method": "exact",
         "link_score": 100.0},
        {"context_id": "c1", "rank": 4, "item_id": "i3", "score": 0.4, "identity": 0.0,
         "similarity": 0.3, "conversation": 0.1},
    ],
    "judgments": [
        {"context_id": "c1", "item_id": "i2", "rating": -1.5, "ratings": [-1, -2],
         "positions": [1, 2], "score": 0.25},
        {"context_id": "c1", "item_id": "i3", "rating": 2.0, "ratings": [2, 2],
         "positions": [2, 1], "score": 1.4},
    ],
    "adjustment": [{"item_id": "i1", "weight": 2.0, "bias": -0.5}],
    "demonstrations": [
        {"context_id": "c1", "split": "test", "items": ["i3", "i1", "i2"],
         "completion": f"Ronin (1998)\n{HOSTILE} (1999)\nHeat (1995)"},
    ],
    "checkpoint": [{"path": ".", "base": "tiny", "parameters": 1, "manifest": "{}"}],
    "generations": [
        {"system": "sft", "sample_id": f"s{n}", "context_id": "c1", "draw": 0,
         "completion": f"Ronin (1998)\nSpeed (1994)\nRonin (1998)\nXyzzy (2000)\n{HOSTILE} (1999)"}
        for n in (0, 1)
    ],
}  # fmt: skip

PARENTS = {
    "teacher_lists": ["conversations"],
    "candidates": ["catalog", "conversations", "teacher_lists"],
    "judgments": ["catalog", "conversations", "candidates"],
    "adjustment": ["catalog", "conversations", "candidates", "judgments"],
    "demonstrations": ["catalog", "conversations", "candidates", "judgments", "adjustment"],
    "checkpoint": ["conversations", "demonstrations"],
    "generations": ["conversations", "checkpoint"],
}
STAGES = {"checkpoint": "sft", "generations": "evaluate"}


def put_artifacts(store: Store, name: str = "a") -> dict[str, str]:
    """Put every artifact, each made from the others; kind → artifact id."""
    ids: dict[str, str] = {}
    for kind, rows in ROWS.items():
        empty = dict.fromkeys(KINDS[kind])
        frame = pl.DataFrame([{**empty, **row} for row in rows], infer_schema_length=None)
        parents = {role: ids[role] for role in PARENTS.get(kind, [])}
        spec = ArtifactSpec(kind, STAGES.get(kind, "any"), 1, {"name": name}, parents)
        scratch = store.make_scratch_folder() if kind == "checkpoint" else None
        failed = pl.DataFrame({"context_id": ["c1"], "reason": ["one pass"], "final": [True]})
        failures = failed if kind == "judgments" else None
        made = store.put(spec, StepResult(frame, failures=failures), scratch=scratch)
        ids[kind] = made.artifact_id
    return ids
