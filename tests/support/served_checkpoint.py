"""A checkpoint in a warehouse that can be served: a micro student, its catalog, its posts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.tables import KINDS
from convrec.config import Config
from convrec.models.load import load_student, save_student
from convrec.models.manifest import serving_settings
from convrec.models.prompts import student_prompt

ITEMS = [
    ("f1", "Alien", 1979),
    ("f2", "Aliens", 1986),
    ("f3", "Heat", 1995),
    ("f4", "Heat", 1972),
    ("f5", "Blade Runner", 1982),
    ("f6", "The Thing", 1982),
    ("f7", "Up", 2009),
    ("f8", "It's a Wonderful Life", 1946),
    ("f9", "Amélie", 2001),
    ("f10", "Ronin", 1998),
]
CONFIG = Config.model_validate(
    {
        "list_length": 4,
        "reflect": {"top": 5},
        "model": {
            "hidden": 16,
            "layers": 1,
            "vocabulary": 320,
            "max_prompt_tokens": 256,
            "max_completion_tokens": 64,
        },
    }
)
POSTS = ["I loved Heat and want more like it", "something with Blade Runner in space"]


def put_served_checkpoint(store: Store, hidden: int = 16) -> str:
    """Store a checkpoint with random weights and all that serving reads; returns its id."""
    model = CONFIG.model.model_copy(update={"hidden": hidden})
    catalog = _put(store, "catalog", [(*item, [], [], "") for item in ITEMS])
    rows = [
        (f"s{i}", f"c{i}", "train", None, post, None, [], [], None) for i, post in enumerate(POSTS)
    ]
    conversations = _put(store, "conversations", rows)
    lists = "\n".join(f"{title} ({year})" for _, title, year in ITEMS)
    texts = [student_prompt(post, None, CONFIG) for post in POSTS] + [lists]
    student = load_student("tiny", config=model, texts=texts, seed=3)
    with torch.no_grad():
        for weight in student.model.parameters():
            weight.mul_(6)  # so that answers depend on the prompt
    scratch = store.make_scratch_folder()
    save_student(student, scratch)
    manifest = json.dumps({"seed": 3, "serving": serving_settings(CONFIG)})
    return _put(
        store,
        "checkpoint",
        [(".", "tiny", student.model.num_parameters(), manifest)],
        parents={"catalog": catalog, "conversations": conversations},
        scratch=scratch,
    )


def _put(
    store: Store,
    kind: str,
    rows: Sequence[tuple[Any, ...]],
    *,
    parents: dict[str, str] | None = None,
    scratch: Path | None = None,
) -> str:
    stage = "sft" if kind == "checkpoint" else "ingest"
    frame = pl.DataFrame(rows, schema=list(KINDS[kind]), orient="row")
    spec = ArtifactSpec(kind=kind, stage=stage, version=1, parents=parents or {})
    return store.put(spec, StepResult(frame), scratch=scratch).artifact_id
