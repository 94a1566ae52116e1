"""Score the lists of any system from a JSONL file.

`convrec.stages.evaluate.score_rows` defines the rows; `convrec score` is the command. Bad rows are
reported and skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from convrec.catalog.exact_matches import has_years
from convrec.catalog.load import load_configured_catalog, read_catalog_rows
from convrec.catalog.years import parse_year
from convrec.config import Config
from convrec.errors import InputError
from convrec.metrics import Floats
from convrec.metrics.bootstrap import Bootstrap, Interval
from convrec.metrics.matcher import Matcher
from convrec.metrics.protocols.per_label import CatalogNames, match_per_label
from convrec.metrics.protocols.reference import match_reference
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import ranking_metrics
from convrec.metrics.relevance import TitleAndYear
from convrec.metrics.rewards import exp_inf_rewards, log_rewards
from convrec.metrics.scored_lists import EvaluationProtocol, ListBatch, ListToScore
from convrec.stages.evaluate.score_rows import BadRow, ScoreRow, read_score_rows
from convrec.titles.aliases import AliasIndex
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import LineFormat, parse_chat_list
from convrec.utils.files import atomic_path

_CHUNK = 5000
"""Rows that are scored at once."""

_CACHED_TITLES = 1 << 16

_MARKED_LINE = re.compile(r"^((?:\d{1,3}[.):]|[-*•])[ \t]+(\S.*))$", re.MULTILINE)
"""A line with a number or a bullet, and what follows."""

BatchMatcher = Callable[[Sequence[ListToScore]], ListBatch]


@dataclass(frozen=True)
class Score:
    """The metrics of a file of lists, each the mean over `cases` values with its interval.

    Cases are lists, or (list, item) pairs under `per-label`. `marked_lines` counts the lines that
    would name an item of the catalog without their number or bullet, under `standard`.
    """

    protocol: EvaluationProtocol
    lists: int
    metrics: dict[str, Interval]
    bad_rows: tuple[BadRow, ...]
    bad_catalog_rows: int
    cases: int
    marked_lines: int = 0
    marked_example: str = ""


def score_file(
    path: Path,
    catalog: Path,
    *,
    protocol: EvaluationProtocol = "standard",
    config: Config | None = None,
    per_list: Path | None = None,
    resamples: int = 1000,
    seed: int = 7,
    progress: Callable[[int], None] = lambda rows: None,
) -> Score:
    """Score every row of a JSONL file against a catalog file, CSV or Parquet.

    `config` has the line format of the lists and the column names of the catalog; by default lines
    are "Title (year)". `per_list` gets one JSON row for each scored list, in input order; its
    `line` is the row's line in the input. `progress` gets the number of rows read so far.

    Raises:
        InputError: The file cannot be read, is no JSONL, or has no usable row.
        CatalogError: The catalog cannot be used.
    """
    config = config or Config()
    items, bad_catalog = load_configured_catalog(catalog, config)
    match = _protocol_matcher(items, catalog, protocol, config)
    is_standard = protocol == "standard"
    find_marked = _marked_line_finder(items, config.line_format) if is_standard else None
    marked: list[str] = []
    bad_rows: list[BadRow] = []
    contexts: list[str] = []
    lists = 0
    values: dict[str, list[Floats]] = {}
    with _output_file(per_list) as out:
        rows = read_score_rows(path, protocol, bad_rows)
        while chunk := list(islice(rows, _CHUNK)):
            batch = match([row.to_score for row in chunk])
            if find_marked is not None:
                marked += (line for row in chunk for line in find_marked(row.to_score.completion))
            metrics = ranking_metrics(batch)
            for name, of_chunk in {**metrics, **batch.quality}.items():
                values.setdefault(name, []).append(of_chunk)
            owners = range(len(chunk)) if batch.owner is None else batch.owner.tolist()
            contexts += [chunk[owner].context for owner in owners]
            lists += len(chunk)
            if out is not None:
                _write_rows(out, chunk, metrics, batch)
            progress(chunk[-1].line)
        if not lists:
            raise InputError(_no_rows_message(path, bad_rows))
        if not contexts:
            raise InputError(
                f"every ground truth in {path} was mentioned already, so there is no "
                "(list, item) pair to count; use --protocol standard"
            )
    table = np.column_stack([np.concatenate(chunks) for chunks in values.values()])
    intervals = Bootstrap(contexts, resamples=resamples, seed=seed).intervals(table)
    means = dict(zip(values, intervals, strict=True))
    return Score(
        protocol,
        lists,
        means,
        tuple(bad_rows),
        bad_catalog.height,
        len(contexts),
        len(marked),
        marked[0] if marked else "",
    )


def _marked_line_finder(items: pl.DataFrame, form: LineFormat) -> Callable[[str], list[str]]:
    """Finds the lines of a completion that are items of the catalog but for a number or bullet."""
    index = TitleIndex(items.select("item_id", "title", "year").iter_rows())

    @lru_cache(_CACHED_TITLES)
    def is_marked(line: str, rest: str) -> bool:
        plain, whole = form.parse(rest), form.parse(line)
        return (
            plain is not None
            and index.find(plain.title, plain.year) is not None
            and (whole is None or index.find(whole.title, whole.year) is None)
        )

    def find(completion: str) -> list[str]:
        return [line for line, rest in _MARKED_LINE.findall(completion) if is_marked(line, rest)]

    return find


def _protocol_matcher(
    frame: pl.DataFrame, catalog: Path, protocol: EvaluationProtocol, config: Config
) -> BatchMatcher:
    line_format, columns = config.line_format, config.ingest.column_names
    if protocol == "reference" and not line_format.is_default:
        raise InputError(
            "the reference protocol parses lines as Title (year), and this profile writes "
            f"{line_format.example}; use --protocol standard"
        )
    items = list(frame.select("item_id", "title", "year").iter_rows())
    titles = [(title, year) for _, title, year in items]
    if protocol == "reference":
        pairs = {*titles, *exact_titles(catalog, columns)}
        return lambda lists: match_reference(lists, pairs)
    if protocol == "per-label":
        names = CatalogNames(titles, line_format, parse_chat_list)
        return lambda lists: match_per_label(lists, names)
    matcher = Matcher(TitleIndex(items), line_format)
    years = line_format.has_years and has_years(frame)
    aliases = AliasIndex(frame)

    def with_catalog_titles(scored: ListToScore) -> ListToScore:
        seen, wanted = map(aliases.to_catalog_titles, (scored.seen, scored.ground_truth))
        return ListToScore(scored.completion, seen, wanted)

    def match(lists: Sequence[ListToScore]) -> ListBatch:
        named = lists if aliases.is_empty else [with_catalog_titles(each) for each in lists]
        return match_standard(named, matcher, years=years)

    return match


def exact_titles(catalog: Path, columns: Mapping[str, str]) -> set[TitleAndYear]:
    """Return the titles and years as written in the file, also those of rejected duplicates."""
    _, rows = read_catalog_rows(catalog, columns)
    values = (row.values for row in rows)
    return {(str(row.get("title")), parse_year(row.get("year"))[0]) for row in values}


def _write_rows(
    out: IO[str], rows: Sequence[ScoreRow], metrics: dict[str, Floats], batch: ListBatch
) -> None:
    """Write one JSON row for each list. Under `per-label`: the mean over its pairs, or null."""
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
    relevance = batch.reward_relevance.tolist()
    for row, values, of_list in zip(rows, table.tolist(), relevance, strict=True):
        scored = {"line": row.line, **dict(zip(metrics, values, strict=True))}
        scored["reward_exp_inf"] = exp_inf_rewards(of_list)
        scored["reward_log"] = log_rewards(of_list)
        out.write(json.dumps(scored) + "\n")


@contextmanager
def _output_file(path: Path | None) -> Iterator[IO[str] | None]:
    """Open a file that appears only when it is complete; None without a path."""
    if path is None:
        yield None
        return
    try:
        with atomic_path(path) as part, part.open("w", encoding="utf-8") as out:
            yield out
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None


def _no_rows_message(path: Path, bad_rows: Sequence[BadRow]) -> str:
    needs = "rows have completion, seen_titles and groundtruth_with_release_year"
    if not bad_rows:
        return f"{path} is empty; provide a JSONL file whose {needs}"
    first = bad_rows[0]
    return (
        f"{path} has no usable row ({len(bad_rows)} bad; line {first.line}: {first.reason}); "
        f"provide a JSONL file whose {needs}"
    )
