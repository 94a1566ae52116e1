"""Score anyone's lists: JSONL in, metrics and rewards out, one bad row never stops the others.

`convrec.stages.evaluate.score_rows` says what a row holds, `convrec.cli.score` is the command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from convrec.config import Config
from convrec.errors import InputError
from convrec.metrics.bootstrap import Bootstrap, Interval
from convrec.metrics.registry import ListBatch, ListToScore, Protocol, ranking_metrics
from convrec.metrics.relevance import Titled
from convrec.stages.evaluate.score_rows import BadRow, ScoreRow, read_rows

_CHUNK = 5000
"""Rows judged together."""

Judging = Callable[[Sequence[ListToScore]], ListBatch]


@dataclass(frozen=True)
class Score:
    """What a file of lists is worth; `metrics` holds the mean of each metric over its lists.

    `catalog_left_out` counts the catalog's rows that could not be used, `cases` what is averaged:
    the lists, or under `per-label` the pairs of a list and a ground-truth item.
    """

    protocol: Protocol
    lists: int
    metrics: dict[str, Interval]
    bad: tuple[BadRow, ...]
    catalog_left_out: int
    cases: int


def score_file(
    path: Path,
    catalog: Path,
    *,
    protocol: Protocol = "standard",
    config: Config | None = None,
    per_list: Path | None = None,
    resamples: int = 1000,
    seed: int = 7,
    progress: Callable[[int], None] = lambda rows: None,
) -> Score:
    """Score every row of a JSONL file against a catalog file.

    `config` says how lines are written and what the catalog calls its columns.
    `per_list` gets one JSON row a scored list, in input order, with its `line` in the input.
    `progress(rows)` is told how many rows have been read. Raises InputError where the file is no
    JSONL or has no usable row, CatalogError for a catalog that cannot be used.
    """
    judge, left_out = _judge(catalog, protocol, config or Config())
    bad: list[BadRow] = []
    contexts: list[str] = []
    lists = 0
    values: dict[str, list[NDArray[np.float64]]] = {}
    with _replacing(per_list) as out:
        rows = read_rows(path, protocol, bad)
        while chunk := list(islice(rows, _CHUNK)):
            batch = judge([row.asked for row in chunk])
            metrics = ranking_metrics(batch)
            for name, found in {**metrics, **batch.rates}.items():
                values.setdefault(name, []).append(found)
            asked = range(len(chunk)) if batch.owner is None else batch.owner.tolist()
            contexts += [chunk[position].context for position in asked]
            lists += len(chunk)
            if out is not None:
                _write(out, chunk, metrics, batch)
            progress(chunk[-1].line)
        if not lists:
            raise InputError(_nothing(path, bad))
        if not contexts:
            raise InputError(
                f"every ground truth in {path} had been mentioned already, so there is no pair to "
                "count; use --protocol standard"
            )
    table = np.column_stack([np.concatenate(parts) for parts in values.values()])
    intervals = Bootstrap(contexts, resamples=resamples, seed=seed).intervals(table)
    means = dict(zip(values, intervals, strict=True))
    return Score(protocol, lists, means, tuple(bad), left_out, len(contexts))


def _judge(catalog: Path, protocol: Protocol, config: Config) -> tuple[Judging, int]:
    """What judges lists against a catalog file, and how many of its rows cannot be used."""
    from convrec.catalog.items import has_years
    from convrec.catalog.load import load_catalog
    from convrec.metrics.matcher import Matcher
    from convrec.metrics.protocols.per_label import Names, match_per_label
    from convrec.metrics.protocols.reference import match_reference
    from convrec.metrics.protocols.standard import match_standard
    from convrec.titles.index import TitleIndex

    form, columns = config.line_format, config.ingest.names
    if protocol == "reference" and form.key:
        raise InputError(
            f"the reference protocol reads lines as Title (year), and this profile writes "
            f"{form.words}; use --protocol standard"
        )
    frame, left_out = load_catalog(catalog, columns, years=form.years)
    items = list(frame.select("item_id", "title", "year").iter_rows())
    if protocol == "reference":
        pairs = {(title, year) for _, title, year in items} | _spellings(catalog, columns)
        return lambda lists: match_reference(lists, pairs), left_out.height
    if protocol == "per-label":
        names = Names(((title, year) for _, title, year in items), form)
        return lambda lists: match_per_label(lists, names), left_out.height
    judge, years = Matcher(TitleIndex(items), form), form.years and has_years(frame)
    return lambda lists: match_standard(lists, judge, years=years), left_out.height


def _spellings(catalog: Path, columns: Mapping[str, str]) -> set[Titled]:
    """The titles and years of the file as they stand, repeats that only differ in quotes too."""
    from convrec.catalog.load import catalog_rows, read_year

    _, rows = catalog_rows(catalog, columns)
    values = (row.values for row in rows)
    return {(str(row.get("title")), read_year(row.get("year"))[0]) for row in values}


def _write(
    out: IO[str],
    rows: Sequence[ScoreRow],
    metrics: dict[str, NDArray[np.float64]],
    batch: ListBatch,
) -> None:
    """One JSON row a list. Under `per-label` it has the mean over its pairs, None without one."""
    from convrec.metrics.rewards import exp_inf, log_rewards

    table = np.column_stack(list(metrics.values()))
    if batch.owner is not None:
        sums = np.zeros((len(rows), table.shape[1]))
        np.add.at(sums, batch.owner, table)
        pairs = np.bincount(batch.owner, minlength=len(rows))
        for row, total, count in zip(rows, sums, pairs.tolist(), strict=True):
            means = (total / count).tolist() if count else [None] * len(metrics)
            scored = {"line": row.line, "pairs": count, **dict(zip(metrics, means, strict=True))}
            out.write(json.dumps(scored) + "\n")
        return
    earned = batch.reward_relevance.tolist()
    for row, values, relevance in zip(rows, table.tolist(), earned, strict=True):
        scored = {"line": row.line, **dict(zip(metrics, values, strict=True))}
        scored["reward_exp_inf"] = exp_inf(relevance)
        scored["reward_log"] = log_rewards(relevance)
        out.write(json.dumps(scored) + "\n")


@contextmanager
def _replacing(path: Path | None) -> Iterator[IO[str] | None]:
    """A file that takes its name only when all of it is written; None for no path."""
    if path is None:
        yield None
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as out:
            yield out
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _nothing(path: Path, bad: Sequence[BadRow]) -> str:
    needs = "rows hold completion, seen_titles and groundtruth_with_release_year"
    if not bad:
        return f"{path} is empty; give a JSONL file whose {needs}"
    first = bad[0]
    return (
        f"{path} has no usable row ({len(bad)} bad; line {first.line}: {first.reason}); "
        f"give a JSONL file whose {needs}"
    )
