"""A trace: what became of one conversation at every stage, as plain values.

Everything comes from stored rows, with two exceptions: s_final is computed from the stored values
w·s_reflect + b, and teacher lines without a candidate are linked again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import polars as pl

from convrec.artifacts.store import Store
from convrec.artifacts.trace.lineage_path import LineagePath
from convrec.metrics.relevance import list_lines, match_lines, titles_and_years
from convrec.titles.aliases import AliasIndex
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import (
    DEFAULT_LINE,
    DEFAULT_LINE_WITHOUT_YEAR,
    LineFormat,
    format_line,
    line_format,
)
from convrec.titles.linker import Link, Linker
from convrec.utils.folds import fold_item_id, fold_of

Rows = list[dict[str, Any]]

OUTSIDE = "nothing in the catalog"
SAME = "the same item as a line above"
BELOW = "below the candidates that remap.keep keeps"
"""Notes on teacher lines without a candidate."""

_LINK_COLUMNS = ("linked_from", "link_method", "link_score", "runner_up", "runner_up_score")


def trace_conversation(store: Store, name: str, path: LineagePath) -> dict[str, Any]:
    """The trace of a conversation, a context_id or sample_id, along a path.

    Keys: context_id, run, artifacts (role → id), samples, teacher (each raw line and its link),
    candidates (all parts of each score, best first), demonstrations, lists (those of the trained
    checkpoints, each line with its mark) and failures (role → reason).
    """
    samples = _read_rows(store, path, "conversations", name)
    context = samples[0]["context_id"]
    fold = _fold(path, samples)
    if any(sample["sample_id"] == name for sample in samples) and name != context:
        samples = [sample for sample in samples if sample["sample_id"] == name]
    catalog = _read_catalog(store, path)
    aliases = AliasIndex(catalog)
    for sample in samples:
        for key in ("seen", "ground_truth"):
            sample[key] = aliases.to_catalog_titles(sample[key])
    catalog = catalog.drop("aliases")
    lines = _line_format(path)
    names = {item: lines.format(title, year) for item, title, year in catalog.iter_rows()}
    index = TitleIndex(catalog.iter_rows())
    demonstrations = [
        {key: row[key] for key in ("sample_id", "split", "completion", "items")}
        for row in _read_rows(store, path, "demonstrations", context)
        if row["sample_id"] in (None, *(sample["sample_id"] for sample in samples))
    ]
    candidates = _candidates(store, path, context, names, fold)
    seen = {
        item for sample in samples for title in sample["seen"] for item in index.find_all(*title)
    }
    _add_final_ranks(candidates, demonstrations, seen)
    run = path.run
    return {
        "context_id": context,
        "run": run and {"run_id": run.run_id, "flow": run.flow, "profile": run.profile},
        "artifacts": {role: header.ref.artifact_id for role, header in path.headers.items()},
        "samples": [_format_sample(sample, lines) for sample in samples],
        "teacher": _teacher_lines(store, path, context, candidates, names),
        "candidates": candidates,
        "demonstrations": demonstrations,
        "lists": _generated_lists(store, path, samples, index, lines),
        "failures": _failures(store, path, context),
    }


def _read_rows(store: Store, path: LineagePath, role: str, name: str) -> Rows:
    """The rows of a context in the artifact of a role, in order; empty if there is none.

    In `conversations`, `name` may be a sample: its whole context is read.
    """
    artifact_id = path.artifact_id(role)
    if artifact_id is None:
        return []
    kind = path.headers[role].ref.kind
    condition = "context_id = $name"
    if kind == "conversations":
        condition = (
            "context_id IN (SELECT context_id FROM conversations WHERE artifact_id = $id "
            "AND (context_id = $name OR sample_id = $name))"
        )
    with store.read_connection() as connection:
        found = connection.execute(
            f'SELECT * EXCLUDE (artifact_id, "row") FROM "{kind}" '  # noqa: S608
            f'WHERE artifact_id = $id AND {condition} ORDER BY "row"',
            {"id": artifact_id, "name": name},
        ).pl()
    rows: Rows = found.to_dicts()
    for row in rows if kind == "conversations" else ():
        for column in ("seen", "ground_truth"):
            row[column] = titles_and_years(row[column])
    return rows


def _read_catalog(store: Store, path: LineagePath) -> pl.DataFrame:
    """item_id, title, year and aliases of the catalog on the path; empty if there is none."""
    artifact_id = path.artifact_id("catalog")
    if artifact_id is None:
        columns = {"item_id": pl.String, "title": pl.String, "year": pl.Int32}
        return pl.DataFrame(schema={**columns, "aliases": pl.List(pl.String)})
    return store.read(artifact_id, "item_id", "title", "year", "aliases")


def _line_format(path: LineagePath) -> LineFormat:
    """The line format in the configuration of the demonstrations, or the default."""
    header = path.headers.get("demonstrations")
    config = header.config if header else {}
    return line_format(
        config.get("line", DEFAULT_LINE), config.get("line_without_year", DEFAULT_LINE_WITHOUT_YEAR)
    )


def _format_sample(sample: dict[str, Any], lines: LineFormat) -> dict[str, Any]:
    values = {key: sample[key] for key in ("sample_id", "split", "created_utc", "conversation")}
    titles = {
        key: [lines.format(*title) for title in sample[key]] for key in ("seen", "ground_truth")
    }
    return {**values, **titles}


def _fold(path: LineagePath, samples: Rows) -> int:
    """The fold whose w and b rank a context's list, from all its samples; 0 for the fit on all."""
    config = path.headers["adjustment"].config if path.artifact_id("adjustment") else {}
    if not config.get("folds") or samples[0]["split"] != "train":
        return 0
    names = pl.Series([sample["sample_id"] for sample in samples])
    if pattern := config.get("dialogue"):
        dialogues = names.str.extract(pattern).fill_null(samples[0]["context_id"])
    else:
        dialogues = pl.Series([samples[0]["context_id"]])
    return fold_of(str(dialogues.min()), config["folds"])


def _candidates(
    store: Store, path: LineagePath, context: str, names: dict[str, str], fold: int
) -> Rows:
    """Every candidate with all parts of its score, best s_remap first."""
    judgments = {row["item_id"]: row for row in _read_rows(store, path, "judgments", context)}
    adjustment: dict[str, tuple[float, float]] = {}
    if artifact_id := path.artifact_id("adjustment"):
        fitted = store.read(artifact_id, "item_id", "weight", "bias")
        adjustment = {item: (weight, bias) for item, weight, bias in fitted.iter_rows()}
    candidates = []
    for row in _read_rows(store, path, "candidates", context):
        item = row["item_id"]
        judgment = judgments.get(item, {})
        s_reflect: float = judgment["score"] if judgment else row["score"]
        weight, bias = adjustment.get(fold_item_id(fold, item), (1.0, 0.0))
        candidates.append(
            {
                "remap_rank": row["rank"],
                "item_id": item,
                "item": names.get(item, item),
                **{key: row[key] for key in ("identity", "similarity", "conversation")},
                "s_remap": row["score"],
                **{key: judgment.get(key) for key in ("rating", "ratings", "positions")},
                "s_reflect": s_reflect,
                "weight": weight,
                "bias": bias,
                "s_final": weight * s_reflect + bias,
                **{key: row[key] for key in _LINK_COLUMNS},
            }
        )
    return candidates


def _add_final_ranks(candidates: Rows, demonstrations: Rows, seen: set[str]) -> None:
    """Add final_rank, the rank in the first demonstration, and whether the user saw the item."""
    items = demonstrations[0]["items"] if demonstrations else []
    ranks = {item: rank for rank, item in enumerate(items, start=1)}
    for candidate in candidates:
        candidate["seen"] = candidate["item_id"] in seen
        candidate["final_rank"] = ranks.get(candidate["item_id"])


def _teacher_lines(
    store: Store, path: LineagePath, context: str, candidates: Rows, names: dict[str, str]
) -> Rows:
    """The teacher's raw lines, each with its linked catalog item and a note if it has none."""
    linked = {row["linked_from"]: row for row in candidates if row["linked_from"]}
    lines = _read_rows(store, path, "teacher_lists", context)
    texts = [format_line(row["title"], row["year"]) for row in lines]
    unlinked = [row for row, text in zip(lines, texts, strict=True) if text not in linked]
    links = _link_again(store, path, unlinked)
    entries: Rows = []
    for row, text in zip(lines, texts, strict=True):
        entry = {"rank": row["rank"], "line": row["line"], "read_as": text}
        if text in linked:
            candidate = linked[text]
            entry |= {"item_id": candidate["item_id"], "item": candidate["item"], "note": ""}
            entry |= {key: candidate[key] for key in _LINK_COLUMNS[1:]}
        else:
            earlier_items = {other["item_id"] for other in entries}
            entry |= _unlinked_entry(links.get(row["rank"]), earlier_items, names)
        entries.append(entry)
    return entries


def _unlinked_entry(
    link: Link | None, earlier_items: set[str], names: dict[str, str]
) -> dict[str, Any]:
    if link is None:
        return {"item_id": None, "item": None, "note": OUTSIDE} | dict.fromkeys(_LINK_COLUMNS[1:])
    return {
        "item_id": link.item_id,
        "item": names.get(link.item_id, link.item_id),
        "note": SAME if link.item_id in earlier_items else BELOW,
        "link_method": link.method,
        "link_score": link.score,
        "runner_up": link.runner_up,
        "runner_up_score": link.runner_up_score,
    }


def _link_again(store: Store, path: LineagePath, lines: Rows) -> dict[int, Link | None]:
    """Rank → link, for teacher lines without a candidate."""
    catalog = path.artifact_id("catalog")
    if not lines or catalog is None:
        return {}
    links = _linker(store, catalog).link_many([(row["title"], row["year"]) for row in lines])
    return {row["rank"]: link for row, link in zip(lines, links, strict=True)}


@lru_cache(maxsize=1)
def _linker(store: Store, catalog: str) -> Linker:
    return Linker(store.read(catalog))


def _generated_lists(
    store: Store, path: LineagePath, samples: Rows, index: TitleIndex, lines: LineFormat
) -> Rows:
    """The lists that the trained checkpoints generated for the samples, each line with its mark."""
    by_id = {sample["sample_id"]: sample for sample in samples}
    lists = []
    for role, header in path.headers.items():
        if header.ref.kind != "generations":
            continue
        for row in _read_rows(store, path, role, samples[0]["context_id"]):
            if row["sample_id"] not in by_id:
                continue
            sample = by_id[row["sample_id"]]
            texts = list_lines(row["completion"])
            matched = match_lines(texts, index, sample["seen"], sample["ground_truth"], lines)
            lists.append(
                {
                    "system": role.removeprefix("generations_"),
                    "checkpoint": header.parents.get("checkpoint"),
                    "sample_id": row["sample_id"],
                    "draw": row["draw"],
                    "lines": [
                        {"rank": rank, "text": text, "mark": line.status}
                        for rank, (text, line) in enumerate(zip(texts, matched, strict=True), 1)
                    ],
                }
            )
    return lists


def _failures(store: Store, path: LineagePath, context: str) -> dict[str, str]:
    """Role → why its stage failed for the conversation."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT artifact_id, reason FROM failures WHERE context_id = ?", [context]
        ).fetchall()
    reasons = dict(rows)
    return {
        role: reasons[header.ref.artifact_id]
        for role, header in path.headers.items()
        if header.ref.artifact_id in reasons
    }
