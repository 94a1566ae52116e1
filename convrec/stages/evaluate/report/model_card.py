"""The model card of a checkpoint: model, data, training, cost, metrics and limits.

It is the README.md of the checkpoint's folder, written when the checkpoint is committed and again
after its evaluation. `convrec export` copies it. All of its content comes from the warehouse.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from convrec.artifacts import ArtifactRecord, Store
from convrec.artifacts.lineage import ancestors, descendants
from convrec.artifacts.runs import code_revision
from convrec.llm.ledger import ledger_rows, sum_rows
from convrec.metrics.list_quality import QUALITY_METRICS
from convrec.stages.evaluate.report.markdown import systems_markdown
from convrec.stages.evaluate.report.tables import system_cells
from convrec.utils.files import atomic_path
from convrec.utils.markdown import code_block, escape, markdown_table

FILE = "README.md"

_ROLES = {"teacher_lists": "teacher", "judgments": "judge"}
"""Data of an LLM → the key of its configuration that names the model."""


def write_model_card(store: Store, checkpoint: str) -> Path | None:
    """Write the card into the checkpoint's folder; None on a host without a copy of it."""
    path = store.folder(checkpoint) / FILE
    if not path.parent.is_dir():
        return None
    card = model_card(store, checkpoint)
    with atomic_path(path) as part:
        part.write_text(card, encoding="utf-8")
    return path


def model_card(store: Store, checkpoint: str) -> str:
    """Return the card as markdown. Raises InputError if there is no such checkpoint."""
    header = store.header(checkpoint)
    lineage = ancestors(store, checkpoint)
    row = store.read(checkpoint).row(0, named=True)
    manifest = json.loads(row["manifest"])
    serving = manifest["serving"]
    parts = [
        _front_matter(_base_model(store, checkpoint)),
        f"# {checkpoint}",
        f"A language model with {row['parameters']:,} parameters that recommends "
        f"{serving['list_length']} {escape(serving['domain']['noun'])} items for a conversation, "
        f"one per line, best first. Trained by convrec {code_revision()}, stage "
        f"{header.ref.stage}, on {header.created_at:%Y-%m-%d}.",
        "## Data",
        markdown_table(["data", "artifact", "rows", "source"], _data_rows(lineage)),
        "## Training",
        code_block(json.dumps({k: v for k, v in manifest.items() if k != "serving"}, indent=2)),
        "## Cost",
        _cost(store, lineage),
        "## Metrics",
        _metrics(store, checkpoint),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(lineage, serving)),
        "## Prompt",
        "The prompt is one user message in the tokenizer's chat template. It is built from the "
        "conversation with these settings:",
        code_block(
            json.dumps({"model": serving["model"], "student": serving["domain"]["student"]})
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(base: str) -> str:
    lines = ["library_name: transformers", "pipeline_tag: text-generation"]
    if base and base != "tiny" and not os.path.isabs(base):
        lines.append(f"base_model: {json.dumps(base)}")
    return "\n".join(["---", *lines, "tags:", "- recommendation", "- convrec", "---"])


def _base_model(store: Store, checkpoint: str) -> str:
    base = str(store.read(checkpoint)["base"][0])
    return _base_model(store, base) if base.startswith("checkpoint-") else base


def _data_rows(lineage: Iterable[ArtifactRecord]) -> list[list[object]]:
    sources = {
        "conversations": "format {format}",
        "catalog": "the catalog version of the training",
        "teacher_lists": "teacher {teacher}",
        "judgments": "judge {judge}",
        "demonstrations": "training targets",
    }
    rows: list[list[object]] = []
    for kind, source in sources.items():
        for header in (h for h in lineage if h.ref.kind == kind):
            names = {key: escape(header.config.get(key)) for key in ("format", *_ROLES.values())}
            partial = ", partial" if header.ref.partial else ""
            cells = [kind, header.ref.artifact_id, header.ref.rows]
            rows.append([*cells, source.format(**names) + partial])
    return rows


def _cost(store: Store, lineage: list[ArtifactRecord]) -> str:
    seconds = sum(h.seconds for h in lineage if h.ref.kind == "checkpoint")
    parts = [f"Training took {seconds:,.0f} s."]
    rows = [
        [r["stage"], escape(r["model"]), r["requests"], round(r["usd"] or 0, 4)]
        for r in sum_rows(ledger_rows(store), "stage,model")
    ]
    if rows:
        parts.append("LLM requests of this warehouse so far, for all runs together:")
        parts.append(markdown_table(["stage", "model", "requests", "US$"], rows))
    return "\n\n".join(parts)


def _metrics(store: Store, checkpoint: str) -> str:
    """Return the newest metrics of the checkpoint's lists and of the other systems."""
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
        systems = system_cells(store.read(header.ref.artifact_id))
        own = {role.removeprefix("generations_") for role in roles} & systems.keys()
        if not own:
            continue
        rows = {f"{s} (this)" if s in own else s: row for s, row in systems.items()}
        n = systems[min(own)]["ndcg@20"]["n"]
        return (
            f"On {n:,} test samples, protocol standard, with 95% intervals over posts. Artifact "
            f"{header.ref.artifact_id}.\n\n{systems_markdown(rows, QUALITY_METRICS)}"
        )
    return "Not measured yet. Run `convrec evaluate`."


def _limits(lineage: list[ArtifactRecord], serving: dict[str, Any]) -> list[str]:
    limits = [
        "It knows only the catalog that it was trained with. After a catalog change, use a "
        "constrained sampler or train again.",
        "Unconstrained lists can contain unknown titles, seen titles and repeats; the rates above "
        "show how often. `convrec recommend` excludes all three.",
        "It reproduces the taste of its teacher and of the people in its data. The report shows "
        "how popular its items are.",
        f"It was trained on prompts of at most {serving['model']['max_prompt_tokens']} tokens.",
    ]
    models = {
        role: next((h.config.get(role, "") for h in lineage if h.ref.kind == kind), "")
        for kind, role in _ROLES.items()
    }
    simulated = [role for role, model in models.items() if str(model).startswith("demo-")]
    if simulated:
        limits.insert(
            0,
            f"**The {' and the '.join(simulated)} were simulated** by the demo's server: the "
            "metrics show that the pipeline works, and say nothing about real models.",
        )
    return limits
