"""The model card of a checkpoint: what it is, what it learned from, what it is worth, what not.

It stands as README.md in the checkpoint's folder, written when the checkpoint is committed and
again when it has been measured, and goes along with `convrec export`. Everything in it comes from
the warehouse.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from convrec.artifacts import ArtifactRecord, Store
from convrec.artifacts.lineage import ancestors, descendants
from convrec.artifacts.runs import revision
from convrec.metrics.list_quality import RATES
from convrec.stages.evaluate.report.markdown import systems_markdown
from convrec.stages.evaluate.report.tables import cells
from convrec.utils.files import atomic_path
from convrec.utils.markdown import code, plain_table, text

if TYPE_CHECKING:
    from pathlib import Path

FILE = "README.md"


def write_card(store: Store, checkpoint: str) -> Path | None:
    """Write the card into the checkpoint's folder, at once or not at all; returns its path.

    None on a host that has no copy of a lake's checkpoint.
    """
    path = store.folder(checkpoint) / FILE
    if not path.parent.is_dir():
        return None
    with atomic_path(path) as part:
        part.write_text(model_card(store, checkpoint), encoding="utf-8")
    return path


def model_card(store: Store, checkpoint: str) -> str:
    """The card as markdown. Raises InputError for a checkpoint that is not there."""
    header = store.header(checkpoint)
    above = ancestors(store, checkpoint)
    kinds: dict[str, ArtifactRecord] = {}
    for found in above:
        kinds.setdefault(found.ref.kind, found)
    row = store.read(checkpoint).row(0, named=True)
    manifest = json.loads(row["manifest"])
    serving = manifest["serving"]
    parts = [
        _front(_base(store, checkpoint)),
        f"# {checkpoint}",
        f"A language model of {row['parameters']:,} parameters that answers a conversation with "
        f"{serving['list_length']} {text(serving['domain']['noun'])} recommendations, one a line, "
        f"best first. Trained by convrec {revision()}, stage {header.ref.stage}, on "
        f"{header.created_at:%Y-%m-%d}.",
        "## Data",
        plain_table(["what", "artifact", "rows", "how"], _data(above)),
        "## Training",
        code(json.dumps({k: v for k, v in manifest.items() if k != "serving"}, indent=2)),
        "## What it cost",
        _cost(store, above),
        "## Metrics",
        _metrics(store, checkpoint),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(kinds, serving)),
        "## How to ask it",
        "The prompt is one user message of the tokenizer's chat template, made from the "
        "conversation as this says:",
        code(json.dumps({"model": serving["model"], "student": serving["domain"]["student"]})),
    ]
    return "\n\n".join(parts) + "\n"


def _front(base: str) -> str:
    lines = ["library_name: transformers", "pipeline_tag: text-generation"]
    if base and base != "tiny" and not os.path.isabs(base):
        lines.append(f"base_model: {json.dumps(base)}")
    return "\n".join(["---", *lines, "tags:", "- recommendation", "- convrec", "---"])


def _base(store: Store, checkpoint: str) -> str:
    """The model that the first stage of training started from."""
    base = str(store.read(checkpoint)["base"][0])
    return _base(store, base) if base.startswith("checkpoint-") else base


def _data(above: Iterable[ArtifactRecord]) -> list[list[object]]:
    rows: list[list[object]] = []
    for kind in ("conversations", "catalog", "teacher_lists", "judgments", "demonstrations"):
        for header in (h for h in above if h.ref.kind == kind):
            partial = ", partial" if header.ref.partial else ""
            how = _how(kind, header.config) + partial
            rows.append([kind, header.ref.artifact_id, header.ref.rows, how])
    return rows


def _how(kind: str, config: dict[str, Any]) -> str:
    if kind == "conversations":
        return f"format {text(config.get('format'))}"
    if kind == "catalog":
        return "the version that it was trained with"
    if kind == "teacher_lists":
        return f"teacher {text(config.get('teacher'))}"
    return f"judge {text(config.get('judge'))}" if kind == "judgments" else "what it was shown"


def _cost(store: Store, above: list[ArtifactRecord]) -> str:
    from convrec.llm.ledger import ledger_rows, summed

    seconds = sum(h.seconds for h in above if h.ref.kind == "checkpoint")
    lines = [f"Training took {seconds:,.0f} s."]
    paid = summed(ledger_rows(store), "stage,model")
    if paid:
        lines += [
            "Paid from this warehouse so far, all runs together:",
            plain_table(
                ["stage", "model", "requests", "US$"],
                [
                    [r["stage"], text(r["model"]), r["requests"], round(r["usd"] or 0, 4)]
                    for r in paid
                ],
            ),
        ]
    return "\n\n".join(lines)


def _metrics(store: Store, checkpoint: str) -> str:
    """The newest figures of its lists, beside those of the other systems."""
    below = descendants(store, checkpoint)
    lists = {
        h.ref.artifact_id
        for h in below
        if h.ref.kind == "generations" and h.parents.get("checkpoint") == checkpoint
    }
    for header in reversed(below):
        roles = [role for role, parent in header.parents.items() if parent in lists]
        if header.ref.kind != "metrics" or not roles:
            continue
        system = roles[0].removeprefix("generations_")
        found = cells(store.read(header.ref.artifact_id), "standard")
        systems: dict[str, Any] = {s: row for (s, versus), row in found.items() if versus is None}
        if system not in systems:
            continue
        rows = {f"{s} (this)" if s == system else s: row for s, row in systems.items()}
        n = systems[system]["ndcg@20"]["n"]
        told = f"On {n:,} test samples, protocol standard, with 95% intervals over posts; artifact "
        return f"{told}{header.ref.artifact_id}.\n\n{systems_markdown(rows, RATES)}"
    return "Not measured yet: `convrec evaluate` does that."


def _limits(kinds: dict[str, ArtifactRecord], serving: dict[str, Any]) -> list[str]:
    limits = [
        "It knows the catalog of its training only; after a change it needs a constrained sampler "
        "or new training.",
        "Unconstrained lists may hold titles that are not in the catalog, seen ones, or repeats; "
        "the rates above say how often. `convrec recommend` allows none of them.",
        "It repeats the taste of its teacher and of the people in its data; see how popular its "
        "items are in the report.",
        f"It was trained on prompts of at most {serving['model']['max_prompt_tokens']} tokens.",
    ]
    played = [
        word
        for kind, key, word in (
            ("teacher_lists", "teacher", "teacher"),
            ("judgments", "judge", "judge"),
        )
        if kind in kinds and str(kinds[kind].config.get(key, "")).startswith("demo-")
    ]
    if played:
        limits.insert(
            0,
            f"**The {' and the '.join(played)} were simulated** by the demo's server: the figures "
            "show that the pipeline works, and nothing about real models.",
        )
    return limits
