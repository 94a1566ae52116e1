"""The model card of a checkpoint: model, metrics, use, data, training, cost and limits.

It is the README.md of the checkpoint's folder, written when the checkpoint is committed. Each
evaluation appends its metrics and changes nothing else. `convrec export` copies it. All of its
content comes from the warehouse.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from convrec.artifacts import ArtifactRecord, Store
from convrec.artifacts.lineage import ancestors
from convrec.artifacts.runs import code_revision, list_runs
from convrec.config import Config
from convrec.llm.ledger import ledger_rows, sum_rows
from convrec.models.manifest import serving_config
from convrec.stages.evaluate.report.card_history import (
    END_OF_METRICS,
    NOT_MEASURED,
    append_evaluation,
)
from convrec.stages.evaluate.report.card_metadata import (
    DataOrigin,
    base_folder_name,
    base_license,
    front_matter,
)
from convrec.stages.evaluate.report.card_metrics import find_metrics
from convrec.stages.evaluate.report.card_usage import prompt_text, usage_text
from convrec.stages.ingest.splits import SPLITS
from convrec.utils.files import atomic_path
from convrec.utils.markdown import code_block, escape, markdown_table

FILE = "README.md"


_ROLES = {"teacher_lists": "teacher", "judgments": "judge"}
"""Data of an LLM → the key of its configuration that names the model."""


def write_model_card(store: Store, checkpoint: str) -> Path | None:
    """Write the card into the checkpoint's folder, or append to the card that is there.

    None on a host without a copy of the folder.
    """
    path = store.folder(checkpoint) / FILE
    if not path.parent.is_dir():
        return None
    card = current_card(store, checkpoint)
    with atomic_path(path) as part:
        part.write_text(card, encoding="utf-8")
    return path


def current_card(store: Store, checkpoint: str) -> str:
    """The card in the checkpoint's folder with all evaluations; a new one if there is none.

    Raises InputError if there is no such checkpoint.
    """
    path = store.folder(checkpoint) / FILE
    card = path.read_text(encoding="utf-8") if path.is_file() else new_card(store, checkpoint)
    for measured in find_metrics(store, checkpoint):
        card = append_evaluation(card, measured, _data_origin(ancestors(store, checkpoint)))
    return card


def new_card(store: Store, checkpoint: str) -> str:
    """A card without metrics, as markdown. Raises InputError if there is no such checkpoint."""
    header = store.header(checkpoint)
    lineage = ancestors(store, checkpoint)
    row = store.read(checkpoint).row(0, named=True)
    manifest = json.loads(row["manifest"])
    serving = serving_config(row["manifest"])
    base, origin = _base_model(store, checkpoint), _data_origin(lineage)
    parts = [
        front_matter(checkpoint, base=base, stage=header.ref.stage, serving=serving, data=origin),
        f"# {checkpoint}",
        f"A language model with {row['parameters']:,} parameters that recommends "
        f"{serving.list_length} {escape(serving.domain.noun)} items for a conversation, "
        f"one per line, best first. Trained by convrec {code_revision()}, stage "
        f"{header.ref.stage}, on {header.created_at:%Y-%m-%d}, from {_base_text(base)}.",
        "## Metrics",
        NOT_MEASURED,
        END_OF_METRICS,
        "## Use",
        usage_text(serving),
        "## Prompt",
        _prompt(serving),
        "## Data",
        _data(store, header, lineage),
        "## Training",
        code_block(json.dumps({k: v for k, v in manifest.items() if k != "serving"}, indent=2)),
        "## Cost",
        _cost(store, lineage),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(lineage, manifest["serving"])),
    ]
    return "\n\n".join(parts) + "\n"


def _data_origin(lineage: list[ArtifactRecord]) -> DataOrigin:
    """The conversations that a checkpoint was trained with, as its metadata name them."""
    data = next((h for h in lineage if h.ref.kind == "conversations"), None)
    if data is None:
        return DataOrigin("conversations", "")
    form = str(data.config.get("format", "")) or "conversations"
    return DataOrigin(form, data.inputs.get("conversations", ""))


def _base_text(base: str) -> str:
    if base == "tiny":
        return "random weights (the base `tiny`)"
    terms = base_license(base).get("license", "")
    return escape(f"{base_folder_name(base)}{f' (license {terms})' if terms else ''}")


def _prompt(serving: Config) -> str:
    form = prompt_text(serving)
    if not form:
        return "The prompts are those of the data (model.prompt=given), which have no common form."
    return (
        "The model was trained on one user message in the tokenizer's chat template, of at most "
        f"{serving.model.max_prompt_tokens} tokens in all (model.prompt={serving.model.prompt}):"
        f"\n\n{code_block(form)}"
    )


def _base_model(store: Store, checkpoint: str) -> str:
    base = str(store.read(checkpoint)["base"][0])
    return _base_model(store, base) if base.startswith("checkpoint-") else base


def _data(store: Store, header: ArtifactRecord, lineage: list[ArtifactRecord]) -> str:
    run = header.producer.flow_run_id
    profiles = [r.profile for r in list_runs(store) if r.run_id == run] if run else []
    parts = [f"Profile `{escape(profiles[0])}`."] if profiles else []
    counts = [
        f"{split} {h.figures[f'contexts_{split}']:,}"
        for h in lineage
        if h.ref.kind == "conversations"
        for split in SPLITS
        if f"contexts_{split}" in h.figures
    ]
    if counts:
        parts.append(f"Conversations: {', '.join(counts)}.")
    table = markdown_table(["data", "artifact", "rows", "source"], _data_rows(lineage))
    return "\n\n".join(filter(None, [" ".join(parts), table]))


def _data_rows(lineage: Iterable[ArtifactRecord]) -> list[list[object]]:
    sources = {
        "conversations": "format {format}{hub}",
        "catalog": "the catalog version of the training{hub}",
        "teacher_lists": "teacher {teacher}",
        "judgments": "judge {judge}",
        "demonstrations": "training targets",
    }
    rows: list[list[object]] = []
    for kind, source in sources.items():
        for header in (h for h in lineage if h.ref.kind == kind):
            names = {key: escape(header.config.get(key)) for key in ("format", *_ROLES.values())}
            names["hub"] = "".join(
                f", {escape(value)}" for value in header.inputs.values() if value.startswith("hub:")
            )
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


def _limits(lineage: list[ArtifactRecord], serving: dict[str, Any]) -> list[str]:
    limits = [
        "It knows only the catalog that it was trained with. After a catalog change, use a "
        "constrained sampler or train again.",
        "Unconstrained lists can contain unknown titles, seen titles and repeats; the rates above "
        "show how often. The lists of a catalog (`convrec recommend`, or the code above) have "
        "none of the three.",
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
