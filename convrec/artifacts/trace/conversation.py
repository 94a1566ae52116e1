"""What became of one conversation, stage by stage, as plain values.

Everything is read from stored rows. Only s_final is worked out again, from stored numbers
(w·s_reflect + b), and a teacher line of which no candidate tells is linked again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from convrec.metrics.relevance import list_lines, match_lines, titles_and_years
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import (
    DEFAULT_LINE,
    DEFAULT_LINE_WITHOUT_YEAR,
    LineFormat,
    format_line,
    line_format,
)

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store
    from convrec.artifacts.trace.lineage_path import LineagePath
    from convrec.titles.linker import Linker

Rows = list[dict[str, Any]]

OUTSIDE = "nothing in the catalog"
SAME = "the same item as a line above"
BELOW = "below the candidates that remap.keep keeps"


def trace_conversation(store: Store, name: str, line: LineagePath) -> dict[str, Any]:
    """The conversation `name`, a context_id or sample_id, along a line.

    Keys: context_id, run, artifacts (role → id), samples, teacher (the raw lines and what each was
    linked to), candidates (every part of each score, best first), demonstrations, lists (of the
    trained checkpoints, each line with its mark) and failures (role → reason).
    """
    samples = _rows(store, line, "conversations", name)
    context = samples[0]["context_id"]
    if any(sample["sample_id"] == name for sample in samples) and name != context:
        samples = [sample for sample in samples if sample["sample_id"] == name]
    catalog = _catalog(store, line)
    form = _form(line)
    names = {item: form.format(title, year) for item, title, year in catalog.iter_rows()}
    index = TitleIndex(catalog.iter_rows())
    demonstrations = [
        {key: row[key] for key in ("sample_id", "split", "completion", "items")}
        for row in _rows(store, line, "demonstrations", context)
        if row["sample_id"] in (None, *(sample["sample_id"] for sample in samples))
    ]
    candidates = _candidates(store, line, context, names)
    _rank(candidates, demonstrations, {index.find(*seen) for s in samples for seen in s["seen"]})
    return {
        "context_id": context,
        "run": {
            "run_id": line.run.run_id,
            "flow": line.run.flow,
            "profile": line.run.profile,
        }
        if line.run
        else None,
        "artifacts": {role: header.ref.artifact_id for role, header in line.headers.items()},
        "samples": [_sample(sample, form) for sample in samples],
        "teacher": _teacher(store, line, context, candidates, names),
        "candidates": candidates,
        "demonstrations": demonstrations,
        "lists": _lists(store, line, samples, index, form),
        "failures": _failures(store, line, context),
    }


def _rows(store: Store, line: LineagePath, role: str, name: str) -> Rows:
    """The rows of a conversation in an artifact of the line, in order; none without the artifact.

    Of `conversations` those of the sample's whole context.
    """
    artifact_id = line.artifact_id(role)
    if artifact_id is None:
        return []
    kind = line.headers[role].ref.kind
    wanted = "context_id = $name"
    if kind == "conversations":
        wanted = (
            "context_id IN (SELECT context_id FROM conversations WHERE artifact_id = $id "
            "AND (context_id = $name OR sample_id = $name))"
        )
    with store.read_connection() as connection:
        found = connection.execute(
            f'SELECT * EXCLUDE (artifact_id, "row") FROM "{kind}" '  # noqa: S608
            f'WHERE artifact_id = $id AND {wanted} ORDER BY "row"',
            {"id": artifact_id, "name": name},
        ).pl()
    rows: Rows = found.to_dicts()
    for row in rows if kind == "conversations" else ():
        for column in ("seen", "ground_truth"):
            row[column] = titles_and_years(row[column])
    return rows


def _catalog(store: Store, line: LineagePath) -> pl.DataFrame:
    """item_id, title and year of the line's catalog; no rows where it has none."""
    import polars as pl

    artifact_id = line.artifact_id("catalog")
    columns = ("item_id", "title", "year")
    if artifact_id is None:
        return pl.DataFrame(schema={"item_id": pl.String, "title": pl.String, "year": pl.Int32})
    return store.read(artifact_id, *columns)


def _form(line: LineagePath) -> LineFormat:
    """How the line's lists are written: what the demonstrations' key says of it."""
    header = line.headers.get("demonstrations")
    config = header.config if header else {}
    return line_format(
        config.get("line", DEFAULT_LINE), config.get("line_without_year", DEFAULT_LINE_WITHOUT_YEAR)
    )


def _sample(sample: dict[str, Any], form: LineFormat) -> dict[str, Any]:
    kept = ("sample_id", "split", "created_utc", "conversation")
    lists = {
        key: [form.format(*titled) for titled in sample[key]] for key in ("seen", "ground_truth")
    }
    return {**{key: sample[key] for key in kept}, **lists}


def _candidates(store: Store, line: LineagePath, context: str, names: dict[str, str]) -> Rows:
    """Every candidate with all parts of its score, best remapped first."""
    judged = {row["item_id"]: row for row in _rows(store, line, "judgments", context)}
    adjusted: dict[str, tuple[float, float]] = {}
    if adjustment := line.artifact_id("adjustment"):
        fitted = store.read(adjustment, "item_id", "weight", "bias")
        adjusted = {item: (weight, bias) for item, weight, bias in fitted.iter_rows()}
    candidates = []
    for row in _rows(store, line, "candidates", context):
        item = row["item_id"]
        rated = judged.get(item, {})
        reflected: float = rated["score"] if rated else row["score"]
        weight, bias = adjusted.get(item, (1.0, 0.0))
        candidates.append(
            {
                "remap_rank": row["rank"],
                "item_id": item,
                "item": names.get(item, item),
                **{key: row[key] for key in ("identity", "similarity", "conversation")},
                "s_remap": row["score"],
                **{key: rated.get(key) for key in ("rating", "ratings", "positions")},
                "s_reflect": reflected,
                "weight": weight,
                "bias": bias,
                "s_final": weight * reflected + bias,
                **{key: row[key] for key in _LINK},
            }
        )
    return candidates


_LINK = ("linked_from", "link_method", "link_score", "runner_up", "runner_up_score")


def _rank(candidates: Rows, demonstrations: Rows, seen: set[str | None]) -> None:
    """Add final_rank, the place in the (first) demonstration, and whether the item was seen."""
    items = demonstrations[0]["items"] if demonstrations else []
    place = {item: rank for rank, item in enumerate(items, start=1)}
    for candidate in candidates:
        candidate["seen"] = candidate["item_id"] in seen
        candidate["final_rank"] = place.get(candidate["item_id"])


def _teacher(
    store: Store, line: LineagePath, context: str, candidates: Rows, names: dict[str, str]
) -> Rows:
    """The teacher's raw lines, each with the catalog item that it was linked to."""
    origin = {row["linked_from"]: row for row in candidates if row["linked_from"]}
    lines = _rows(store, line, "teacher_lists", context)
    written = [format_line(row["title"], row["year"]) for row in lines]
    other = _again(store, line, lines, [text in origin for text in written])
    found: Rows = []
    for row, text in zip(lines, written, strict=True):
        entry = {"rank": row["rank"], "line": row["line"], "read_as": text}
        if text in origin:
            linked = origin[text]
            entry |= {"item_id": linked["item_id"], "item": linked["item"], "note": ""}
            entry |= {key: linked[key] for key in _LINK[1:]}
        else:
            link = other.get(row["rank"])
            entry |= {"item_id": None, "item": None, "note": OUTSIDE}
            entry |= dict.fromkeys(_LINK[1:])
            if link is not None:
                above = link.item_id in {one["item_id"] for one in found}
                entry |= {
                    "item_id": link.item_id,
                    "item": names.get(link.item_id, link.item_id),
                    "note": SAME if above else BELOW,
                    "link_method": link.method,
                    "link_score": link.score,
                    "runner_up": link.runner_up,
                    "runner_up_score": link.runner_up_score,
                }
        found.append(entry)
    return found


def _again(store: Store, line: LineagePath, lines: Rows, known: list[bool]) -> dict[int, Any]:
    """Rank → link of the lines of which no candidate tells."""
    open_lines = [row for row, told in zip(lines, known, strict=True) if not told]
    catalog = line.artifact_id("catalog")
    if not open_lines or catalog is None:
        return {}
    links = _linker(store, catalog).link_many([(row["title"], row["year"]) for row in open_lines])
    return {row["rank"]: link for row, link in zip(open_lines, links, strict=True)}


@lru_cache(maxsize=1)
def _linker(store: Store, catalog: str) -> Linker:
    from convrec.titles.linker import Linker

    return Linker(store.read(catalog))


def _lists(
    store: Store, line: LineagePath, samples: Rows, index: TitleIndex, form: LineFormat
) -> Rows:
    """The lists that the trained checkpoints wrote for the samples, each line with its mark."""
    by_id = {sample["sample_id"]: sample for sample in samples}
    lists = []
    for role, header in line.headers.items():
        if header.ref.kind != "generations":
            continue
        for row in _rows(store, line, role, samples[0]["context_id"]):
            if row["sample_id"] not in by_id:
                continue
            sample = by_id[row["sample_id"]]
            texts = list_lines(row["completion"])
            judged = match_lines(texts, index, sample["seen"], sample["ground_truth"], form)
            lists.append(
                {
                    "system": role.removeprefix("generations_"),
                    "checkpoint": header.parents.get("checkpoint"),
                    "sample_id": row["sample_id"],
                    "draw": row["draw"],
                    "lines": [
                        {"rank": rank, "text": text, "mark": at.status}
                        for rank, (text, at) in enumerate(zip(texts, judged, strict=True), start=1)
                    ],
                }
            )
    return lists


def _failures(store: Store, line: LineagePath, context: str) -> dict[str, str]:
    """Role → why the stage could do nothing with the conversation."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT artifact_id, reason FROM failures WHERE context_id = ?", [context]
        ).fetchall()
    reasons = dict(rows)
    return {
        role: reasons[header.ref.artifact_id]
        for role, header in line.headers.items()
        if header.ref.artifact_id in reasons
    }
